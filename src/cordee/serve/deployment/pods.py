"""Kubernetes manifests of any kind: the servers in their containers, and their pods on Ascend."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cordee.serve.deployment.container import (
    Box,
    count,
    is_vllms,
    servers_of,
    variables,
    words_in,
)
from cordee.serve.deployment.judgement import row_for
from cordee.serve.deployment.launch import Launch
from cordee.serve.deployment.moved import (
    driver,
    elsewhere,
    flat,
    kept,
    script_of,
)
from cordee.serve.deployment.nodes import on_nodes, tolerated
from cordee.serve.deployment.report import Report
from cordee.serve.deployment.surroundings import TABLE, Surroundings
from cordee.serve.deployment.trees import Path, at, mappings, put, records, without

GROUP = "leaderWorkerTemplate"
"""Of a LeaderWorkerSet: its pods are one server."""
CARDS = ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
IN_PODS = "eth0"


def launches(document: Any, number: int, where: str) -> Iterator[Launch]:
    """Every server in what looks like a container."""
    for place, node in mappings(document, (number,)):
        if ("image" in node or "command" in node) and ("command" in node or "args" in node):
            yield from _container(node, place, where)


def _container(node: dict[Any, Any], place: Path, where: str) -> Iterator[Launch]:
    items = records(node.get("env"))
    words = [*words_in(node.get("command"), where), *words_in(node.get("args"), where)]
    name, image = str(node.get("name") or ""), str(node.get("image") or "")
    box = Box(image, variables(items), "kubernetes", name, place=place)
    looked_up = tuple(item for item in items if "valueFrom" in item)
    for launch in servers_of(words, box, where):
        yield replace(launch, gpus=_gpus(node), looked_up=looked_up)


def _gpus(node: dict[Any, Any]) -> int | None:
    """How many GPUs a container asks for."""
    for part in ("limits", "requests"):
        asked = at(node, ("resources", part))
        for name, value in asked.items() if isinstance(asked, dict) else ():
            if _is_gpu(name) and (number := count(value)):
                return number
    return None


def _is_gpu(name: Any) -> bool:
    row = row_for(f"resource {name}", "", "A2", TABLE)
    return row is not None and row.change.startswith("name ")


def moved(documents: list[Any], report: Report, around: Surroundings) -> Any:
    """The file with one server on Ascend, and the containers that belong to it."""
    place = report.launch.place
    container = _commanded(at(documents, place), report, around)
    documents = _placed(documents, place, container, report, around)
    for other in list(_companions(documents, report)):
        container = at(documents, other)
        if "command" in container or "args" in container:
            container = _with_words(container, elsewhere(_given(container), around))
        documents = _placed(documents, other, container, report, around)
    return documents


def others(documents: list[Any], reports: list[Report], around: Surroundings) -> None:
    """Say which containers ask for GPUs and are no server that is judged."""
    for number in range(len(documents)):
        for _, node in mappings(documents[number], (number,)):
            if "image" in node and _gpus(node):
                around.say("other with GPUs", f"container {node.get('name') or node['image']}")


def _companions(documents: list[Any], report: Report) -> Iterator[Path]:
    """Containers of the same object that run the same image on GPUs, as the workers of a group do."""
    first, place = report.launch.place[0], report.launch.place
    for other, node in mappings(documents[int(first)], (first,)):
        image = str(node.get("image") or "")
        same = is_vllms(image) or (image and image == report.launch.image)
        if other != place and same and _gpus(node) and not _starts(node, other):
            yield other


def _starts(node: dict[Any, Any], place: Path) -> bool:
    """Whether a container is a server of its own."""
    told = "command" in node or "args" in node
    return told and bool(list(_container(node, place, str(node.get("name")))))


def _placed(
    documents: list[Any],
    place: Path,
    container: dict[Any, Any],
    report: Report,
    around: Surroundings,
) -> Any:
    """A container with image, resources, variables and mounts, in a pod that has what it needs."""
    pod_place = place[:-2] if place[-2] in ("containers", "initContainers") else None
    pod = at(documents, pod_place) if pod_place is not None else None
    container = dict(container)
    group = GROUP in place
    if report.server.image and "image" in container:
        container["image"] = report.server.image
    container["env"] = environment_of(container, report)
    if group:
        host = isinstance(pod, dict) and bool(pod.get("hostNetwork"))
        container["env"] = _grouped(container["env"], around, host=host)
    container = resourced(container, report, around)
    if isinstance(pod, dict) and pod_place is not None:
        container, volumes = mounted(container, pod, report, around)
        documents = put(documents, place, _clean(container))
        pod = {**at(documents, pod_place), "volumes": volumes}
        pod = tolerated(on_nodes(_clean(pod), around), around)
        return put(documents, pod_place, pod)
    return put(documents, place, _clean(container))


def _clean(given: dict[Any, Any]) -> dict[Any, Any]:
    empty = ("env", "volumes", "volumeMounts")
    return {key: value for key, value in given.items() if value or key not in empty}


def _commanded(container: dict[Any, Any], report: Report, around: Surroundings) -> dict[Any, Any]:
    """All words in `args`, so that the image's own entry stays, which sets CANN's variables."""
    script = report.launch.script
    if script is None:
        words = flat(report)
    else:
        new = elsewhere(script_of(report), around)
        words = [new if word == script.text else word for word in _given(container)]
    return _with_words(container, words)


def _given(container: dict[Any, Any]) -> list[str]:
    parts = (container.get("command"), container.get("args"))
    return [word.text for part in parts for word in words_in(part, "the container")]


def _with_words(container: dict[Any, Any], words: list[str]) -> dict[Any, Any]:
    """In the place of `command` or `args`, whichever is first."""
    out: dict[Any, Any] = {}
    for key, value in container.items():
        if key in ("command", "args"):
            out["args"] = words
        else:
            out[key] = value
    return {**out, "args": words}


def environment_of(container: dict[Any, Any], report: Report) -> list[Any]:
    out: list[Any] = []
    for item in records(container.get("env")):
        found = variables([item])
        after = kept(found[0], report) if found else None
        if not found or after == found[0]:
            out.append(item)
        elif after is not None:
            out.append({"name": after.name, "value": after.value.text})
    return out


def _grouped(env: list[Any], around: Surroundings, *, host: bool) -> list[Any]:
    """Variables by which the pods of one server find each other."""
    names = {item.get("name") for item in env}
    made: list[Any] = []
    if "HCCL_IF_IP" not in names:
        source = {"fieldRef": {"fieldPath": "status.podIP"}}
        made.append({"name": "HCCL_IF_IP", "valueFrom": source})
    made += [{"name": name, "value": IN_PODS} for name in CARDS if name not in names]
    if "RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES" not in names:
        made.append({"name": "RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES", "value": "1"})
    row = "group of nodes in the host's network" if host else "group of nodes"
    around.say(row, "HCCL_IF_IP, *_SOCKET_IFNAME", "written")
    return env + made


def resourced(container: dict[Any, Any], report: Report, around: Surroundings) -> dict[Any, Any]:
    """Resources by their names on Ascend; asked for where no GPU was."""
    resource = report.target.family.kubernetes
    new, asked = container, False
    for part in ("limits", "requests"):
        given = at(container, ("resources", part))
        if not isinstance(given, dict):
            continue
        names = {}
        for name, value in given.items():
            after = around.judge("resource", str(name), str(value), f"{name}: {value}")
            names[name] = after[0] if after else ""
        asked |= resource in names.values()
        left = {names[name]: value for name, value in given.items() if names[name]}
        new = put(new, ("resources", part), left) if left else without(new, ("resources", part))
    return new if asked else put(new, ("resources", "limits", resource), report.server.chips)


def mounted(
    container: dict[Any, Any], pod: dict[Any, Any], report: Report, around: Surroundings
) -> tuple[dict[Any, Any], list[Any]]:
    """The container with the driver's folders, and the volumes of its pod."""
    given = records(container.get("volumeMounts"))
    mounts = [m for m in given if around.judge("mount", str(m.get("mountPath") or "")) is not None]
    dropped = {m.get("name") for m in given if m not in mounts}
    inner = records(pod.get("containers"))
    used = {m.get("name") for c in inner if c.get("name") != container.get("name")
            for m in records(c.get("volumeMounts"))}  # fmt: skip
    gone = dropped - used - {m.get("name") for m in mounts}
    volumes = [v for v in records(pod.get("volumes")) if v.get("name") not in gone]
    known = {volume.get("name") for volume in volumes}
    for path in driver(
        (str(m.get("mountPath")) for m in mounts), nodes=GROUP in report.launch.place
    ):
        name = _named(path)
        mounts.append({"name": name, "mountPath": path, "readOnly": True})
        if name not in known:
            volumes.append({"name": name, "hostPath": {"path": path}})
    shared = any(str(m.get("mountPath")).rstrip("/") == "/dev/shm" for m in mounts)
    if report.server.chips > 1 and not shared and not pod.get("hostIPC"):
        mounts.append({"name": "ascend-shm", "mountPath": "/dev/shm"})
        if "ascend-shm" not in known:
            volumes.append(
                {"name": "ascend-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}
            )
    around.say("driver", "volumes of the driver", "written")
    return {**container, "volumeMounts": mounts}, volumes


def _named(path: str) -> str:
    """A volume's name: letters, figures and dashes."""
    plain = path.removeprefix("/usr/local/").removeprefix("Ascend/").removeprefix("/etc/")
    plain = plain.removeprefix("bin/").removeprefix("driver/").replace("tools/", "")
    words = "".join(c if c.isalnum() else "-" for c in plain.lower()).strip("-")
    return words if words.startswith("ascend") else f"ascend-{words}"
