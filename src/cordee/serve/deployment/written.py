"""A server on Ascend as the same kind of text as before: a script, or lines of a Dockerfile."""

import json
import shlex

from cordee.core.shell.words import VARIABLE, Word
from cordee.serve.deployment.chips import mounts
from cordee.serve.deployment.launch import Setting
from cordee.serve.deployment.report import Report

GPU_OPTIONS = ("--gpus", "--runtime")
SHM = "16g"


def written(report: Report) -> str:
    """The new command with its environment, image and devices."""
    if report.launch.kind == "dockerfile":
        return _dockerfile(report)
    return _script(report)


def _script(report: Report) -> str:
    command = [_joined(part) for part in report.server.words]
    if report.launch.docker is not None:
        before = _docker(report)
        lines = [*before, *command]
    else:
        lines = command
    text = " \\\n  ".join(lines)
    exports = [] if report.launch.docker is not None else report.server.settings
    body = [_export(setting) for setting in exports]
    defined = _definitions(report, text + "".join(s.value.text for s in report.server.settings))
    return "\n".join([*defined, *body, text]) + "\n"


def _definitions(report: Report, text: str) -> list[str]:
    """Assignments of the script that the new command still mentions."""
    wanted = {m[1] or m[3] for m in VARIABLE.finditer(text)}
    lines: list[str] = []
    for setting in reversed(report.launch.definitions):
        if setting.name in wanted:
            wanted |= {m[1] or m[3] for m in VARIABLE.finditer(setting.value.text)}
            lines.insert(0, f"{setting.name}={setting.value.written()}")
    return lines


def _export(setting: Setting) -> str:
    return f"export {setting.name}={setting.value.written()}"


def _joined(words: tuple[Word, ...]) -> str:
    return " ".join(word.written() for word in words)


def _docker(report: Report) -> list[str]:
    docker = report.launch.docker
    assert docker is not None
    words, at = docker.words, 0
    lines: list[str] = []
    while at < len(words):
        name, equals, _ = words[at].text.partition("=")
        if not name.startswith("-"):
            lines.append(words[at].written())
            at += 1
            continue
        following = words[at + 1 : at + 2] if not equals and at + 1 < len(words) else ()
        pair = bool(following) and not following[0].text.startswith("-") and _takes(name)
        if name not in GPU_OPTIONS:
            lines.append(_joined(words[at : at + 2] if pair else words[at : at + 1]))
        at += 2 if pair else 1
    start = next((i for i, line in enumerate(lines) if line.startswith("-")), len(lines))
    program, rest = " ".join(lines[:start]), lines[start:]
    given = " ".join(rest)
    needed = [f"--device {path}" for path in _devices(report)]
    needed += [f"{m.option} {_mounted(m.option, m.path)}" for m in mounts() if m.path not in given]
    if "--shm-size" not in given and "--ipc" not in given:
        needed.append(f"--shm-size {SHM}")
    variables = [f"--env {_pair(setting)}" for setting in report.server.settings]
    return [program, *rest, *needed, *variables, report.server.image]


def _takes(name: str) -> bool:
    from cordee.serve.deployment.launch import DOCKER_SWITCHES

    return name not in DOCKER_SWITCHES


def _pair(setting: Setting) -> str:
    word = setting.value
    return Word(f"{setting.name}={word.text}", word.expands, word.quoted).written()


def _devices(report: Report) -> list[str]:
    """One device for each chip; those of visible numbers with all before them."""
    count = max(report.server.chips, max(report.server.visible, default=0) + 1)
    return [f"/dev/davinci{number}" for number in range(count)]


def _mounted(option: str, path: str) -> str:
    return f"{path}:{path}" if option == "--volume" else path


def _flat(report: Report) -> list[str]:
    return [word.text for part in report.server.words for word in part]


def _dockerfile(report: Report) -> str:
    lines = [f"FROM {report.server.image}"]
    lines += [f"ENV {s.name}={_env_value(s.value.text)}" for s in report.server.settings]
    if any(word.expands for part in report.server.words for word in part):
        text = " \\\n  ".join(_joined(part) for part in report.server.words)
        lines.append(f"ENTRYPOINT {text}")
    else:
        lines.append(f"ENTRYPOINT {json.dumps(_flat(report), ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _env_value(text: str) -> str:
    return text if text and shlex.quote(text) == text else json.dumps(text, ensure_ascii=False)
