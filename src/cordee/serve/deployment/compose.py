"""Docker compose files: the servers that they start, and their services on Ascend."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cordee.serve.deployment.container import (
    Box,
    count,
    mine,
    numbers,
    scalar,
    servers_of,
    words_in,
)
from cordee.serve.deployment.judgement import Finding, Verdict
from cordee.serve.deployment.launch import Launch, Setting
from cordee.serve.deployment.moved import (
    devices,
    driver,
    elsewhere,
    flat,
    kept,
    script_of,
)
from cordee.serve.deployment.report import SOURCE_IMAGES, Report
from cordee.serve.deployment.surroundings import Surroundings
from cordee.serve.deployment.trees import Path, at, put, records, without

REQUESTS: Path = ("deploy", "resources", "reservations", "devices")
SHM = "16g"
GPU_KEYS = ("runtime", "gpus")


def launches(document: dict[Any, Any], number: int, where: str) -> Iterator[Launch]:
    """Every server of a compose file."""
    for name, service in document["services"].items():
        if isinstance(service, dict):
            yield from _service(service, (number, "services", name), where)


def _service(service: dict[Any, Any], place: Path, where: str) -> Iterator[Launch]:
    settings = tuple(setting for _, setting in _variables(service.get("environment")))
    words = [*words_in(service.get("entrypoint"), where), *words_in(service.get("command"), where)]
    box = Box(str(service.get("image") or ""), settings, "compose", str(place[-1]), place=place)
    ids = _ids(service, settings)
    for launch in servers_of(words, box, where):
        yield replace(launch, gpus=len(ids) or _reserved(service), device_ids=ids)


def _variables(given: Any) -> list[tuple[Any, Setting]]:
    """Items of `environment`, each as it is written, and as what it sets."""
    if isinstance(given, list):
        pairs = [(item, scalar(item).partition("=")[::2]) for item in given]
    elif isinstance(given, dict):
        pairs = [((key, value), (str(key), scalar(value))) for key, value in given.items()]
    else:
        return []
    return [(item, Setting(name, mine(value))) for item, (name, value) in pairs]


def _ids(service: dict[Any, Any], settings: tuple[Setting, ...]) -> tuple[int, ...]:
    for request in records(at(service, REQUESTS)):
        if ids := numbers(request.get("device_ids")):
            return ids
    told = next((s.value.text for s in settings if s.name == "NVIDIA_VISIBLE_DEVICES"), "")
    return numbers(told.split(","))


def _reserved(service: dict[Any, Any]) -> int | None:
    requests = [*records(at(service, REQUESTS)), *records(service.get("gpus"))]
    return next((n for n in (count(request.get("count")) for request in requests) if n), None)


def moved(documents: list[Any], report: Report, around: Surroundings) -> list[Any]:
    """The file with one service on Ascend."""
    place = report.launch.place
    new = _on_ascend(at(documents, place), report, around)
    documents = put(documents, place, new)
    top = at(documents, place[:1])
    for name in [n for n in top if str(n).startswith("x-") and isinstance(top[n], dict)]:
        documents = put(documents, (place[0], name), _without_gpus(top[name], around))
    return documents


def others(documents: list[Any], reports: list[Report], around: Surroundings) -> None:
    """Say which services ask for GPUs and are no server that is judged."""
    known = {report.launch.place for report in reports}
    for place in {report.launch.place[:2] for report in reports}:
        for name, service in at(documents, place).items():
            if (*place, name) not in known and isinstance(service, dict) and _has_gpus(service):
                around.say("other with GPUs", f"service {name}")


def _has_gpus(service: dict[Any, Any]) -> bool:
    runtime = scalar(service.get("runtime")).startswith("nvidia")
    return runtime or bool(service.get("gpus")) or any(map(_for_gpus, _requests(service)))


def _requests(service: dict[Any, Any]) -> list[dict[Any, Any]]:
    return records(at(service, REQUESTS))


def _for_gpus(request: dict[Any, Any]) -> bool:
    capable = request.get("capabilities")
    driver_ = scalar(request.get("driver"))
    return driver_ in ("nvidia", "cdi") or (isinstance(capable, list) and "gpu" in capable)


def _on_ascend(service: dict[Any, Any], report: Report, around: Surroundings) -> dict[Any, Any]:
    new = _without_gpus(service, around)
    if "build" in new:
        _own_image(report, around)
    elif report.server.image:
        new["image"] = report.server.image
    new = _commanded(new, report, around)
    new["environment"] = _environment(service.get("environment"), report)
    platform = scalar(new.get("platform"))
    if platform and around.judge("platform", platform, platform, f"platform {platform}") is None:
        del new["platform"]
    given = [item for item in new.get("devices") or [] if _stays(item, "device", around)]
    here = {scalar(item).partition(":")[0] for item in given}
    new["devices"] = given + [f"{p}:{p}" for p in devices(report) if p not in here]
    volumes = [item for item in new.get("volumes") or [] if _stays(item, "mount", around)]
    needed = driver(_target(item) for item in volumes)
    new["volumes"] = volumes + [f"{path}:{path}:ro" for path in needed]
    around.say("driver of a container", "devices and volumes", "written")
    if "shm_size" not in new and "ipc" not in new:
        new["shm_size"] = SHM
    return {key: value for key, value in new.items() if key not in ("environment",) or value}


def _without_gpus(service: dict[Any, Any], around: Surroundings) -> dict[Any, Any]:
    """Without what only NVIDIA's runtime answers."""
    new = dict(service)
    runtime = scalar(new.get("runtime"))
    if runtime and around.judge("runtime", runtime, runtime, f"runtime {runtime}") is None:
        del new["runtime"]
    if "gpus" in new:
        around.judge(
            "device request", "gpus", scalar(new["gpus"]), f"gpus {scalar(new['gpus'])}".strip()
        )
        del new["gpus"]
    requests = _requests(new)
    left = [request for request in requests if not _for_gpus(request)]
    if len(left) < len(requests):
        around.judge("device request", "gpu", "", "deploy.resources.reservations.devices")
        new = put(new, REQUESTS, left) if left else without(new, REQUESTS)
    return new


def _own_image(report: Report, around: Surroundings) -> None:
    image = report.target.family.image(report.target.release)
    says = "an image of your own: what is in it is not known"
    found = Finding(Verdict.OTHERWISE, "build", says, f"build it on {image}", True, SOURCE_IMAGES)
    if not any(f.subject == report.launch.image and f.decide for f in report.findings):
        around.findings.append(found)


def _commanded(service: dict[Any, Any], report: Report, around: Surroundings) -> dict[Any, Any]:
    """All words in `command`, so that the image's own entry stays, which sets CANN's variables."""
    script = report.launch.script
    if script is None:
        words: Any = flat(report)
    else:
        new = elsewhere(script_of(report), around)
        parts = [service.get("entrypoint"), service.get("command")]
        words = [word.text for part in parts for word in words_in(part, report.launch.name)]
        words = [new if word == script.text else word for word in words]
    rest = {key: value for key, value in service.items() if key != "entrypoint"}
    return {**rest, "command": words}


def _environment(given: Any, report: Report) -> Any:
    """`environment` as it was written, with what is set on Ascend."""
    out: list[Any] = []
    for item, setting in _variables(given):
        after = kept(setting, report)
        if after is None:
            continue
        if after == setting:
            out.append(item)
        elif isinstance(given, list):
            out.append(f"{after.name}={after.value.text}")
        else:
            out.append((after.name, after.value.text))
    return out if isinstance(given, list) else dict(out)


def _target(volume: Any) -> str:
    if isinstance(volume, dict):
        return scalar(volume.get("target"))
    parts = scalar(volume).split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _stays(item: Any, kind: str, around: Surroundings) -> bool:
    name = _target(item) if kind == "mount" else scalar(item).partition("=")[0].partition(":")[0]
    if kind == "device" and isinstance(item, dict):
        name = scalar(item.get("source"))
    return not name or around.judge(kind, name) is not None
