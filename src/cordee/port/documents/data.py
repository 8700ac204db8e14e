"""YAML, JSON, TOML and INI files: configurations, clusters, pipelines, packages."""

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import PurePosixPath

from cordee.port.documents import assigned, json, yaml
from cordee.port.documents.entries import Entry
from cordee.port.documents.environments import assignments
from cordee.port.documents.kind import Kind
from cordee.port.documents.mentions import mentions
from cordee.port.documents.packages import requirements
from cordee.port.documents.scripts import is_script, scripts
from cordee.port.python.file import Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

LONGEST = 1_000_000  # characters; what is longer is data, and no configuration
LOCKED = re.compile(
    r"(?:^|/)(?:package-lock\.json|.*\.lock|.*-lock\.(?:json|ya?ml)|\.secrets\.baseline)$"
)


class DataFile:
    """Values and the keys by which they are reached."""

    def __init__(self, kind: str, source: Source, setting: Setting) -> None:
        self.kind, self.source, self.setting = kind, source, setting

    @cached_property
    def entries(self) -> list[Entry]:
        """In the order of the text; none where the text is too long or not what it should be."""
        if len(self.source.text) > LONGEST:
            return []
        try:
            return READERS[self.kind](self.source)
        except json.NotJson:
            return []

    @cached_property
    def top(self) -> frozenset[str]:
        """The keys that are in no other."""
        return frozenset(str(entry.path[0]) for entry in self.entries if entry.path)

    def nodes(self) -> Iterator[object]:
        """Entries, environment variables, packages, and lines that speak of NVIDIA."""
        yield from self.entries
        yield from assignments(self.kind, self.source, self.entries)
        yield from requirements(self.kind, self.source, self.entries)
        if not LOCKED.search(self.source.path) and len(self.source.text) <= LONGEST:
            yield from mentions(self.source, self._quiet())

    def parts(self) -> Iterator[Part]:
        """What is shell."""
        return scripts(self.source, self.setting, self.entries)

    def _quiet(self) -> Iterator[Span]:
        blocks = [entry.span for entry in self.entries if entry.block]
        if self.kind == "yaml":
            yield from yaml.comments(self.source, blocks)
        elif self.kind == "json":
            yield from json.comments(self.source.text)
        else:
            yield from assigned.comments(self.source)
        for entry in self.entries:
            if is_script(entry) or _is_prose(entry):
                yield entry.span


def _is_prose(entry: Entry) -> bool:
    """Text for people: several words, of which the first are no command."""
    if entry.value is None or entry.key in ("description", "title", "summary", "documentation"):
        return entry.value is not None
    return len(entry.value.split()) > 8 and not entry.block


def _json(source: Source) -> list[Entry]:
    return json.entries(source.text)


def _toml(source: Source) -> list[Entry]:
    return list(assigned.toml_entries(source))


def _ini(source: Source) -> list[Entry]:
    return list(assigned.ini_entries(source))


READERS: dict[str, Callable[[Source], list[Entry]]] = {
    "yaml": yaml.entries,
    "json": _json,
    "toml": _toml,
    "ini": _ini,
}
ENDINGS = {
    "yaml": (".yaml", ".yml"),
    "json": (".json", ".jsonc", ".json5"),
    "toml": (".toml",),
    "ini": (".ini", ".cfg", ".conf", ".desktop"),
}


def _kind(kind: str) -> Kind:
    def claims(path: str, data: bytes) -> bool:
        name = PurePosixPath(path)
        named = kind == "toml" and name.name == "Pipfile"
        return named or name.suffix.lower() in ENDINGS[kind]

    def opened(path: str, data: bytes, setting: Setting) -> DataFile:
        return DataFile(kind, text_source(path, data), setting)

    return Kind(kind, claims, opened)


KINDS = tuple(_kind(kind) for kind in READERS)
