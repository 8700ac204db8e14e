"""Files that start a server: shell scripts, Dockerfiles, docker compose, Kubernetes and values of charts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from cordee.core.errors import UsageError
from cordee.core.shell.words import Word, words_of
from cordee.serve.deployment import charts, compose, pods
from cordee.serve.deployment.container import Box, servers_of
from cordee.serve.deployment.launch import Launch, Setting, launches_in, only_vllm

INSTRUCTION = re.compile(r"^\s*(FROM|ENV|CMD|ENTRYPOINT)\s+(.*)$", re.IGNORECASE | re.DOTALL)
TEMPLATE = "; of a template of a chart give what `helm template` makes of it, or the chart's values"


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
    if re.search(r"^(apiVersion|services|kind|servingEngineSpec):", text, re.MULTILINE):
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
    yield from servers_of([*entry, *default], box, where)


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
        hint = TEMPLATE if "{{" in text else ""
        raise UsageError(f"{where}: it is no YAML that can be read: {said}{hint}") from error
    for number, document in enumerate(documents):
        if not isinstance(document, dict):
            continue
        if isinstance(document.get("services"), dict):
            yield from compose.launches(document, number, where)
        elif charts.is_stack(document) or charts.is_plain(document):
            yield from charts.launches(document, number, where)
        else:
            yield from pods.launches(document, number, where)
