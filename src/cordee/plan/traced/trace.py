"""What `cordee run --trace` wrote, as a planner reads it; docs/trace.md describes the lines."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError

VERSION = 2
FIRST_GROUP = "0"
"""What torch.distributed calls the group of all."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An argument of an operator, or a result."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    on_host: bool = False

    @property
    def size(self) -> int:
        """How many numbers it has."""
        found = 1
        for length in self.shape:
            found *= length
        return found

    @property
    def bytes(self) -> int:
        return self.size * WIDTH.get(self.dtype, 4)


WIDTH = {
    "float64": 8, "int64": 8, "complex64": 8, "complex128": 16, "float32": 4, "int32": 4, "bfloat16": 2, "float16": 2,
    "int16": 2, "int8": 1, "uint8": 1, "bool": 1, "float8_e4m3fn": 1, "float8_e5m2": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """An operator on shapes; many calls share one."""

    operator: str
    support: str
    """What becomes of it on an Ascend: "native", "host", "missing" and so on."""
    inputs: tuple[Tensor, ...]
    arguments: Mapping[str, Any]
    outputs: tuple[Tensor, ...]

    def named(self, name: str) -> list[Tensor]:
        """Inputs of that name; those of a list share one."""
        return [one for one in self.inputs if one.name == name]

    @property
    def on_chip(self) -> bool:
        """Whether all of it is there."""
        return not any(one.on_host for one in (*self.inputs, *self.outputs))


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where in the program operators are called."""

    module: str
    site: str
    phase: str
    """"forward", "backward", "optimizer" or "other"."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operator, once."""

    number: int
    """In its process, from 1."""
    signature: Signature
    place: Place
    stream: int = 0
    """Of the adapter's numbers; usual ones have 0."""
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """Those of a module that are its own."""

    bytes: int
    trained: int
    """How many are trained."""
    trained_bytes: int


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of a chip after so many calls."""

    calls: int
    allocated_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Communicator:
    """Chips that talk, as one of them sees it."""

    identity: str
    size: int
    rank: int
    """Its place among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One process on one chip."""

    number: int
    """Among all of the program."""
    calls: tuple[Call, ...]
    """Those that the program made itself, not those within others."""
    parameters: Mapping[str, Parameters]
    """By module."""
    held: tuple[Held, ...]
    chip: str
    capacity_bytes: int
    groups: Mapping[str, Communicator]
    """By the name that torch.distributed gives them."""
    finished: bool


def read(path: Path) -> tuple[Rank, ...]:
    """The ranks of a traced program. Raises `UsageError` where it is no trace, or nothing ran on a chip."""
    journals: dict[int, list[dict[str, Any]]] = {}
    sections: list[_Section] = []
    try:
        with path.open("rb") as file:
            for section in _sections(path, file):
                if "journal" in section.header:
                    journals.setdefault(section.header["process"], []).extend(section.operations)
                elif section.calls:
                    sections.append(section)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if not sections:
        raise UsageError(f"{path}: no operator ran on a chip; trace a run that uses one")
    ordered = sorted(sections, key=lambda one: _order(one, journals))
    return tuple(
        _rank(number, section, journals.get(section.header["process"], []))
        for number, section in enumerate(ordered)
    )


def is_trace(path: Path) -> bool:
    """Whether its first line says so."""
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(2**20))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and ("trace" in first or "journal" in first)


def _order(section: "_Section", journals: Mapping[int, list[dict[str, Any]]]) -> tuple[int, int]:
    """By rank: as the launcher said, or as in the largest group of chips."""
    process = section.header["process"]
    if section.header["rank"] is not None:
        return section.header["rank"], process
    largest = max(journals.get(process, ()), key=lambda one: one["ranks"], default=None)
    return (largest["rank"] if largest else 0), process


@dataclass(slots=True)
class _Section:
    """Lines below one header."""

    header: dict[str, Any]
    signatures: dict[int, Signature] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    parameters: dict[str, Parameters] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    operations: list[dict[str, Any]] = field(default_factory=list)
    chip: tuple[str, int] = ("", 0)
    finished: bool = False

    def add(self, kind: str, entry: dict[str, Any]) -> None:
        match kind:
            case "call":
                if "within" not in entry:
                    self.calls[entry["call"]] = Call(
                        entry["call"],
                        self.signatures[entry["of"]],
                        self.places[entry["at"]],
                        entry["stream"],
                        entry.get("failed"),
                    )
            case "signature":
                self.signatures[entry["signature"]] = _signature(entry)
            case "place":
                place = Place(entry["module"], entry["site"], entry["phase"])
                self.places[entry["place"]] = place
            case "parameters":
                self.parameters[entry["parameters"]] = Parameters(
                    entry["bytes"], entry["trained"], entry["trained_bytes"]
                )
            case "memory":
                self.held.append(Held(entry["call"], entry["allocated_bytes"], entry["peak_bytes"]))
            case "chip":
                self.chip = entry["name"], entry["capacity_bytes"]
            case "operation":
                self.operations.append(entry)
            case "end":
                self.finished = True


def _sections(path: Path, lines: Iterable[bytes]) -> Iterator[_Section]:
    section = None
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break  # cut off, because the process was killed
        try:
            entry = json.loads(line)
            kind = next(iter(entry))
        except (ValueError, TypeError, StopIteration) as error:
            raise UsageError(f"{path}, line {number}: not a line of a trace: {error}") from error
        if kind in ("trace", "journal"):
            if section:
                yield section
            if kind == "trace" and entry["trace"] != VERSION:
                raise UsageError(
                    f"{path}, line {number}: version {entry['trace']} of traces, not {VERSION}: trace it anew"
                )
            section = _Section(entry)
        elif section is None:
            raise UsageError(f"{path}: not a trace; cordee run --trace FILE -- COMMAND writes one")
        else:
            section.add(kind, entry)
    if section:
        yield section


def _signature(entry: dict[str, Any]) -> Signature:
    return Signature(
        operator=entry["operator"],
        support=entry["support"],
        inputs=tuple(_tensor(row) for row in entry["inputs"]),
        arguments=entry["arguments"],
        outputs=tuple(_tensor(row) for row in entry["outputs"]),
    )


def _tensor(row: list[Any]) -> Tensor:
    return Tensor(row[0], row[1], tuple(row[2]), on_host=len(row) > 3)


def _rank(number: int, section: _Section, operations: list[dict[str, Any]]) -> Rank:
    groups = {
        one["group"].removeprefix("group_name_"): Communicator(
            one["identity"], one["ranks"], one["rank"]
        )
        for one in operations
    }
    name, capacity = section.chip
    return Rank(
        number=number,
        calls=tuple(section.calls[key] for key in sorted(section.calls)),
        parameters=section.parameters,
        held=tuple(section.held),
        chip=name,
        capacity_bytes=capacity,
        groups=groups,
        finished=section.finished,
    )
