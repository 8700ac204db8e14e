"""Values of Helm charts that start vLLM: vllm-stack's, and those of vLLM's own example."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from cordee.core.facts import Fact, rows
from cordee.core.shell.words import Word
from cordee.serve.deployment.container import Box, count, scalar, servers_of, variables, words_in
from cordee.serve.deployment.flags import TABLES
from cordee.serve.deployment.launch import Launch, Setting
from cordee.serve.deployment.moved import flat
from cordee.serve.deployment.nodes import affine, selected, terms_after, tolerations
from cordee.serve.deployment.pods import environment_of, mounted, resourced
from cordee.serve.deployment.report import Report
from cordee.serve.deployment.surroundings import Surroundings
from cordee.serve.deployment.trees import Path, at, put, records, without

STACK: Path = ("servingEngineSpec", "modelSpec")
ENGINES = "servingEngineSpec"
PARTS = ("requestGPUMem", "requestGPUMemPercentage", "requestGPUCores",
         "limitGPUMem", "limitGPUMemPercentage", "limitGPUCores")  # fmt: skip
"""Of a GPU, by HAMi."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Fact):
    """A value of the chart and its flag."""

    key: str
    flag: str
    off: str = ""
    """The flag that is written where the value is false."""
    switch: bool = False
    """Whether the flag has no value of its own."""

    @property
    def path(self) -> Path:
        return tuple(self.key.split("."))

    def words(self, spec: dict[Any, Any]) -> tuple[Word, ...]:
        """What the template writes for it; nothing where it is not given."""
        value = at(spec, self.path)
        if value is None or value == "":
            return ()
        if self.switch:
            flag = self.flag if value else self.off
            return (Word(flag),) if flag else ()
        return (Word(self.flag), Word(scalar(value), quoted=True))


@cache
def keys() -> tuple[Key, ...]:
    """All values that are flags."""
    return tuple(rows(TABLES / "charts.toml", Key))


def is_stack(document: Any) -> bool:
    """Whether these are values of vllm-stack."""
    return isinstance(at(document, STACK), list)


def is_plain(document: Any) -> bool:
    """Whether these are values of vLLM's example of a chart."""
    image = document.get("image") if isinstance(document, dict) else None
    return isinstance(image, dict) and "repository" in image and "command" in image


def launches(document: dict[Any, Any], number: int, where: str) -> Iterator[Launch]:
    """Every server that the values are for."""
    if is_plain(document):
        image = document["image"]
        name = f"{image.get('repository')}:{image.get('tag') or 'latest'}"
        settings = variables(records(image.get("env")))
        box = Box(name, settings, "helm", "values", place=(number,))
        yield from servers_of(words_in(image["command"], where), box, where)
        return
    shared = variables(records(at(document, (ENGINES, "env"))))
    for index, spec in enumerate(at(document, STACK)):
        if isinstance(spec, dict) and spec.get("modelURL") and spec.get("enabled") is not False:
            yield _stacked(spec, (number, *STACK, index), shared)


def _stacked(spec: dict[Any, Any], place: Path, shared: tuple[Setting, ...]) -> Launch:
    words = [Word(scalar(spec["modelURL"]), quoted=True)]
    for key in keys():
        words += key.words(spec)
    words += words_in(at(spec, ("vllmConfig", "extraArgs")), "extraArgs")
    old = (
        (Setting("VLLM_USE_V1", Word("0")),)
        if scalar(at(spec, ("vllmConfig", "v0"))) == "1"
        else ()
    )
    image = f"{scalar(spec.get('repository'))}:{scalar(spec.get('tag')) or 'latest'}"
    return Launch(
        arguments=tuple(words),
        settings=(*shared, *variables(records(spec.get("env"))), *old),
        image=image if spec.get("repository") else "",
        kind="helm",
        name=scalar(spec.get("name")),
        gpus=count(spec.get("requestGPU")),
        place=place,
    )


def moved(documents: list[Any], report: Report, around: Surroundings) -> Any:
    """The values for one model on Ascend."""
    place = report.launch.place
    if len(place) == 1:
        return put(documents, place, _plain(at(documents, place), report, around))
    new = _model(at(documents, place), report, around)
    documents = put(documents, place, new)
    top = (place[0], ENGINES)
    engines = dict(at(documents, top))
    if scalar(engines.get("runtimeClassName", "nvidia")).startswith("nvidia"):
        around.judge("runtime", "nvidia", "nvidia", "runtimeClassName nvidia")
        engines["runtimeClassName"] = ""
    if isinstance(engines.get("tolerations"), list):
        engines["tolerations"] = tolerations(engines["tolerations"], around)
    return put(documents, top, engines)


def _plain(document: dict[Any, Any], report: Report, around: Surroundings) -> dict[Any, Any]:
    name, _, tag = report.server.image.rpartition(":")
    image = {**document["image"], "repository": name, "tag": tag, "command": flat(report)}
    if "env" in image:
        image["env"] = environment_of(image, report)
    around.say("chart vllm", "the chart's templates")
    new = resourced({**document, "image": image}, report, around)
    return _for_nodes(new, around)


def _model(spec: dict[Any, Any], report: Report, around: Surroundings) -> dict[Any, Any]:
    name, _, tag = report.server.image.rpartition(":")
    new = {**_configured(spec, report), "repository": name, "tag": tag}
    if "env" in new:
        new["env"] = environment_of(new, report)
    for part in (part for part in PARTS if part in new):
        around.judge("resource", "nvidia.com/gpumem", scalar(new.pop(part)), part)
    if new.get("resources"):
        new = resourced(new, report, around)
    else:
        told = scalar(new.get("requestGPUType")) or "nvidia.com/gpu"
        after = around.judge("resource", told, "", f"requestGPUType {told}")
        new["requestGPUType"] = after[0] if after else report.target.family.kubernetes
        new.setdefault("requestGPU", report.server.chips)
    if scalar(new.get("runtimeClassName")).startswith("nvidia"):
        new["runtimeClassName"] = ""
    given = {"volumeMounts": new.get("extraVolumeMounts"), "name": "vllm"}
    pod = {
        "volumes": new.get("extraVolumes"),
        "hostIPC": True,
    }  # the chart has a /dev/shm of its own
    container, volumes = mounted(given, pod, report, around)
    new |= {"extraVolumes": volumes, "extraVolumeMounts": container["volumeMounts"]}
    if at(new, ("lmcacheConfig", "enabled")):
        around.judge("LMCache", "", "", "lmcacheConfig")
        new = put(new, ("lmcacheConfig", "enabled"), False)
    if at(new, ("raySpec", "enabled")):
        around.say("chart vllm-stack with Ray", "raySpec")
    return _for_nodes(new, around)


def _configured(spec: dict[Any, Any], report: Report) -> dict[Any, Any]:
    """Flags as values of the chart where they were that and are the same, else as further arguments."""
    written = list(report.server.words[1:])
    new = dict(spec)
    for key in keys():
        words = key.words(spec)
        if not words:
            continue
        same = [part for part in written if _texts(part) == _texts(words)]
        if same:
            written.remove(same[0])
        else:
            new = without(new, key.path)
    if scalar(at(new, ("vllmConfig", "v0"))) == "1":
        new = without(new, ("vllmConfig", "v0"))
    extra = [word.text for part in written for word in part]
    if extra:
        return put(new, ("vllmConfig", "extraArgs"), extra)  # type: ignore[no-any-return]
    return without(new, ("vllmConfig", "extraArgs"))  # type: ignore[no-any-return]


def _texts(words: tuple[Word, ...]) -> list[str]:
    return [word.text for word in words]


def _for_nodes(given: dict[Any, Any], around: Surroundings) -> dict[Any, Any]:
    """Selectors, affinities and tolerations, where the values have them."""
    new = dict(given)
    if isinstance(new.get("nodeSelector"), dict):
        new["nodeSelector"] = selected(new["nodeSelector"], around)
    if isinstance(new.get("nodeSelectorTerms"), list):
        new["nodeSelectorTerms"] = terms_after(new["nodeSelectorTerms"], around)
    if isinstance(new.get("affinity"), dict):
        new["affinity"] = affine(new["affinity"], around)
    if isinstance(new.get("tolerations"), list):
        new["tolerations"] = tolerations(new["tolerations"], around)
    return new
