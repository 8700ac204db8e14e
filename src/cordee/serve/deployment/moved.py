"""Parts that containers of all kinds of YAML files have, as they are on Ascend: words, variables, devices, mounts."""

from collections.abc import Iterable
from typing import Any

from cordee.serve.deployment import environment
from cordee.serve.deployment.chips import mounts
from cordee.serve.deployment.launch import Script, Setting
from cordee.serve.deployment.report import Report
from cordee.serve.deployment.surroundings import Surroundings

FOLDER = "/vllm-workspace/examples"
"""Where vLLM's own image has its scripts."""
ONE_LINE = 100


def flat(report: Report) -> list[str]:
    """All words of the command."""
    return [word.text for part in report.server.words for word in part]


def script_of(report: Report) -> str:
    """The shell text around a server, with its new command in the place of the old one."""
    script = report.launch.script
    assert script is not None
    text = script.text.replace("\r\n", "\n")
    start, end = script.span or (0, len(text))
    parts = [" ".join(word.written() for word in part) for part in report.server.words]
    before = _set_before(report, script)
    line = " ".join((*before, *parts))
    if "\n" in text[start:end].strip() or len(line) > ONE_LINE:
        line = " \\\n  ".join((" ".join((*before, parts[0])), *parts[1:]))
    return text[:start] + line + text[end:]


def _set_before(report: Report, script: Script) -> list[str]:
    """Variables in front of the command: its own, and those that have another name now."""
    told = {s.name for s in report.launch.settings if s.line} - set(report.launch.own)
    if script.span is None:
        told = set()
    inside = [s for s in report.server.settings if s.line and s.name not in told]
    return [f"{setting.name}={setting.value.written()}" for setting in inside]


def kept(setting: Setting, report: Report) -> Setting | None:
    """A variable as it is set on Ascend; None where it is left out."""
    _, after = environment.judged([setting], report.launch.known, report.target)
    final = {s.name for s in report.server.settings} | {
        s.name for s in after if setting not in report.launch.settings
    }
    return after[0] if after and after[0].name in final else None


def elsewhere(value: Any, around: Surroundings) -> Any:
    """Words that name files of vLLM's own image."""
    if isinstance(value, list):
        return [elsewhere(item, around) for item in value]
    if not isinstance(value, str) or FOLDER + "/" not in value:
        return value
    after = around.judge("folder", FOLDER)
    return value if after is None else value.replace(FOLDER + "/", after[0] + "/")


def driver(given: Iterable[str], *, nodes: bool = False) -> list[str]:
    """Folders and files of the driver that a container does not have yet."""
    known = {path.rstrip("/") for path in given}
    paths = [m.path.rstrip("/") for m in mounts(nodes=nodes) if m.option == "--volume"]
    return [path for path in paths if not _inside(path, known)]


def _inside(path: str, known: set[str]) -> bool:
    return any(path == other or path.startswith(other + "/") for other in known if other)


def devices(report: Report) -> list[str]:
    """One device for each chip, then those that all containers have."""
    count = max(report.server.chips, max(report.server.visible, default=0) + 1)
    numbers = report.launch.device_ids or range(count)
    own = [f"/dev/davinci{number}" for number in numbers]
    return own + [m.path for m in mounts() if m.option == "--device"]
