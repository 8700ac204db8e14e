"""Files that start a server: shell scripts, Dockerfiles, docker compose and Kubernetes."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from cordee.core.errors import UsageError
from cordee.core.shell.words import Word, words_of
from cordee.serve.deployment.launch import (
    Launch,
    Setting,
    found_in,
    launches_in,
    only_vllm,
)

INSTRUCTION = re.compile(r"^\s*(FROM|ENV|CMD|ENTRYPOINT)\s+(.*)$", re.IGNORECASE | re.DOTALL)
GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915")


@dataclass(frozen=True, slots=True)
class Box:
    """What a file says of a container, beside its words."""

    image: str
    settings: tuple[Setting, ...]
    kind: str
    name: str = ""
    line: int = 0


def launches_of(text: str, where: str, name: str = "") -> list[Launch]:
    """Every server that a file starts. Raises `UsageError` if there is none, or it cannot be read."""
    kind = kind_of(text, name)
    if kind == "dockerfile":
        found = list(_dockerfile(text, where))
    elif kind == "yaml":
        found = list(_yaml(text, where))
    else:
        found = launches_in(text, where)
    only_vllm(found, where)
    return found


def kind_of(text: str, name: str) -> str:
    """shell, dockerfile or yaml, by the name or else by how the text begins."""
    lower = Path(name).name.lower()
    if lower.startswith(("dockerfile", "containerfile")) or lower.endswith(".dockerfile"):
        return "dockerfile"
    if lower.endswith((".yml", ".yaml")):
        return "yaml"
    if lower.endswith((".sh", ".bash")):
        return "shell"
    if re.search(r"^(apiVersion|services|kind):", text, re.MULTILINE):
        return "yaml"
    first = next((line for line in text.splitlines() if line.strip() and line[0] != "#"), "")
    return "dockerfile" if re.match(r"(FROM|ARG)\s", first, re.IGNORECASE) else "shell"


def _dockerfile(text: str, where: str) -> Iterator[Launch]:
    image = ""
    settings: list[Setting] = []
    entry: list[Word] = []
    default: list[Word] = []
    line = 1
    for number, instruction in _instructions(text):
        match = INSTRUCTION.match(instruction)
        if match is None:
            continue
        word, rest = match[1].upper(), match[2].strip()
        if word == "FROM":
            parts = [part for part in rest.split() if not part.startswith("--")]
            image, settings, entry, default = (parts[0] if parts else ""), [], [], []
        elif word == "ENV":
            settings += _env(rest, number, where)
        elif word == "ENTRYPOINT":
            entry, line = _command(rest, where), number
        else:
            default, line = _command(rest, where), (line if entry else number)
    box = Box(image, tuple(settings), "dockerfile", line=line)
    yield from _container([*entry, *default], box, where)


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Instructions with the number of their first line, continued lines joined."""
    held, begun = "", 1
    for number, raw in enumerate(text.splitlines(), start=1):
        if raw.lstrip().startswith("#"):
            continue
        begun = begun if held else number
        if raw.rstrip().endswith("\\"):
            held += raw.rstrip()[:-1] + " "
            continue
        yield begun, held + raw
        held = ""
    if held:
        yield begun, held


def _env(rest: str, line: int, where: str) -> list[Setting]:
    words = words_of(rest, where)
    if words and "=" not in words[0].text:
        return [Setting(words[0].text, Word(" ".join(w.text for w in words[1:])), line)]
    pairs = (word.text.partition("=") for word in words)
    return [Setting(name, Word(value), line) for name, equals, value in pairs if equals]


def _command(rest: str, where: str) -> list[Word]:
    if rest.startswith("["):
        try:
            items = json.loads(rest)
        except ValueError as error:
            raise UsageError(f"{where}: this is no list of words in JSON: {rest[:60]}") from error
        return [Word(str(item)) for item in items]
    return words_of(rest, where)


def _yaml(text: str, where: str) -> Iterator[Launch]:
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{where}: it is no YAML that can be read: {said}") from error
    for document in documents:
        if not isinstance(document, dict):
            continue
        services = document.get("services")
        if isinstance(services, dict):
            for name, service in services.items():
                if isinstance(service, dict):
                    yield from _service(str(name), service, where)
        else:
            for name, container in _containers(document):
                yield from _pod_container(name, container, where)


def _service(name: str, service: dict[Any, Any], where: str) -> Iterator[Launch]:
    given = service.get("environment") or {}
    if isinstance(given, list):
        pairs = [str(item).partition("=")[::2] for item in given]
    else:
        pairs = [(str(k), _scalar(v)) for k, v in given.items()] if isinstance(given, dict) else []
    settings = [Setting(key, _mine(value)) for key, value in pairs]
    words = [*_words(service.get("entrypoint"), where), *_words(service.get("command"), where)]
    image = str(service.get("image") or "")
    box = Box(image, tuple(settings), "compose", name)
    for launch in _container(words, box, where):
        yield replace(launch, gpus=_reserved(service))


def _reserved(service: dict[Any, Any]) -> int | None:
    at: Any = service
    for key in ("deploy", "resources", "reservations", "devices"):
        at = at.get(key) if isinstance(at, dict) else None
    for device in at if isinstance(at, list) else []:
        if isinstance(device, dict):
            ids, count = device.get("device_ids"), device.get("count")
            if isinstance(ids, list):
                return len(ids)
            if isinstance(count, int) and not isinstance(count, bool):
                return count
    return None


def _containers(document: dict[Any, Any]) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Everything in a manifest that looks like a container."""
    waiting: list[Any] = [document]
    seen: set[int] = set()  # what an anchor names is looked at once
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict | list) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, list):
            waiting += reversed(node)
            continue
        if ("image" in node or "command" in node) and ("command" in node or "args" in node):
            yield str(node.get("name") or ""), node
        waiting += reversed(list(node.values()))


def _pod_container(name: str, node: dict[Any, Any], where: str) -> Iterator[Launch]:
    given = node.get("env")
    items = [item for item in (given if isinstance(given, list) else []) if isinstance(item, dict)]
    settings = [
        Setting(str(item.get("name")), _mine(_scalar(item["value"])))
        for item in items
        if "value" in item
    ]
    looked_up = tuple(item for item in items if "valueFrom" in item)
    words = [*_words(node.get("command"), where), *_words(node.get("args"), where)]
    gpus = None
    resources = node.get("resources")
    for part in (resources or {}).values() if isinstance(resources, dict) else []:
        for key in GPU_RESOURCES:
            count = str(part.get(key, "")) if isinstance(part, dict) else ""
            if count.isdecimal() and len(count) < 4:
                gpus = int(count)
    image = str(node.get("image") or "")
    box = Box(image, tuple(settings), "kubernetes", name)
    for launch in _container(words, box, where):
        yield replace(launch, gpus=gpus, looked_up=looked_up)


def _words(given: Any, where: str) -> list[Word]:
    if given is None:
        return []
    if isinstance(given, list):
        return [_mine(_scalar(item)) for item in given]
    return words_of(str(given), where)


def _mine(text: str) -> Word:
    """A word of a file that knows variables of its own."""
    return Word(text, expands="${" in text or "$(" in text, quoted=True)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return ""
    return "" if value is None else str(value)


def _container(words: list[Word], box: Box, where: str) -> Iterator[Launch]:
    """The servers that a container starts, by its words or by its image."""
    texts = [word.text for word in words]
    shell = next((i for i, text in enumerate(texts) if text in ("-c", "-lc", "-ec", "-xc")), None)
    inside: list[Launch] = []
    if shell is not None and shell + 1 < len(texts) and found_in(texts) is None:
        inside = launches_in(texts[shell + 1], where)
    elif found := found_in(texts):
        prefix = tuple(words[: found.start])
        inside = [Launch(engine=found.engine, arguments=tuple(words[found.end :]), prefix=prefix)]
    elif "vllm-openai" in box.image.rpartition("/")[2]:
        inside = [Launch(arguments=tuple(words))]
    for launch in inside:
        yield replace(
            launch,
            settings=(*box.settings, *launch.settings),
            image=box.image,
            kind=box.kind,
            name=box.name,
            line=box.line,
        )
