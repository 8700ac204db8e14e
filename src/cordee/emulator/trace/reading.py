"""Reads traces. docs/trace.md describes the lines."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.emulator.trace import journal
from cordee.emulator.trace.records import (
    VERSION,
    Call,
    Chip,
    Difference,
    Failure,
    Header,
    Memory,
    Operation,
    Phase,
    Place,
    Process,
    Signature,
    Support,
    Tensor,
)

# What begins the lines of a process, and which version of them this is.
VERSIONS = {"trace": VERSION, "journal": journal.VERSION}


def read(*paths: Path) -> tuple[Process, ...]:
    """The processes in the trace files at `paths`, by rank, then by number.

    A last line that was cut off, because the process was killed, is left out. Raises `UsageError`
    where there is no file, or where it is not a trace of this version.
    """
    sections: list[_Section] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                sections += _sections(path, file)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
    journals = {
        s.header["process"]: tuple(s.operations.values()) for s in sections if "journal" in s.header
    }
    found = [
        _process(section, journals.get(section.header["process"], ()))
        for section in sections
        if "trace" in section.header
    ]
    order = {id(p): (p.header.rank is None, p.header.rank or 0, p.header.process) for p in found}
    return tuple(sorted(found, key=lambda process: order[id(process)]))


def join(parts: Iterable[Path], target: Path) -> None:
    """Write the trace files `parts` into one."""
    with target.open("wb") as whole:
        for part in parts:
            data = part.read_bytes()
            # What follows the last end of line was cut off.
            whole.write(data[: data.rfind(b"\n") + 1])


def _sections(path: Path, lines: Iterable[bytes]) -> Iterator["_Section"]:
    section = None
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not JSON: {error}") from error
        kind = next(iter(entry), "")  # the first key names the kind of line
        if kind in VERSIONS:
            if section:
                yield section
            if entry[kind] != VERSIONS[kind]:
                raise UsageError(
                    f"{path}, line {number}: version {entry[kind]}, not {VERSIONS[kind]}"
                )
            section = _Section(entry)
        elif section is None:
            raise UsageError(f"{path}: not a trace: the first line is no header")
        else:
            section.add(kind, entry)
    if section:
        yield section


@dataclass(slots=True)
class _Section:
    """Lines below one header, put together."""

    header: dict[str, Any]
    signatures: dict[int, Signature] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    chips: list[Chip] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    operations: dict[tuple[object, ...], Operation] = field(default_factory=dict)
    failure: Failure | None = None
    finished: bool = False

    def add(self, kind: str, entry: dict[str, Any]) -> None:
        match kind:
            case "call":
                self.calls.append(self._call(entry))
            case "signature":
                self.signatures[entry["signature"]] = _signature(entry)
            case "place":
                place = Place(entry["module"], entry["site"], Phase(entry["phase"]))
                self.places[entry["place"]] = place
            case "memory":
                self.memory.append(_memory(entry))
            case "chip":
                self.chips.append(Chip(entry["chip"], entry["name"], entry["capacity_bytes"]))
            case "exception":
                texts = (entry[key] for key in ("exception", "message", "site", "traceback"))
                self.failure = Failure(*texts)
            case "operation":
                # A later line of the same operation takes the place of the earlier.
                key = (entry["identity"], entry["rank"], entry["ns"][0], entry["stream"])
                self.operations.pop(key, None)
                self.operations[key] = journal.operation(entry)
            case "end":
                self.finished = True

    def _call(self, entry: dict[str, Any]) -> Call:
        difference = entry.get("difference")
        return Call(
            number=entry["call"],
            signature=self.signatures[entry["of"]],
            place=self.places[entry["at"]],
            device=entry["device"],
            stream=entry["stream"],
            time_s=entry["s"],
            took_s=entry["took"],
            waited_s=entry.get("waited", 0.0),
            within=entry.get("within"),
            failed=entry.get("failed"),
            difference=Difference(*difference) if difference else None,
            uncompared=entry.get("uncompared"),
        )


def _memory(entry: dict[str, Any]) -> Memory:
    return Memory(
        number=entry["call"],
        device=entry["memory"],
        time_s=entry["s"],
        allocated_bytes=entry["allocated_bytes"],
        reserved_bytes=entry["reserved_bytes"],
        peak_bytes=entry["peak_bytes"],
    )


def _signature(entry: dict[str, Any]) -> Signature:
    return Signature(
        operator=entry["operator"],
        support=Support(entry["support"]),
        inputs=tuple(_tensor(*row) for row in entry["inputs"]),
        arguments=entry["arguments"],
        outputs=tuple(_tensor(*row) for row in entry["outputs"]),
        input_bytes=entry["input_bytes"],
        output_bytes=entry["output_bytes"],
    )


def _tensor(name: str, dtype: str, shape: list[int], device: str = "npu") -> Tensor:
    return Tensor(name, dtype, tuple(shape), device)


def _process(section: _Section, operations: Sequence[Operation]) -> Process:
    header = section.header
    return Process(
        header=Header(
            process=header["process"],
            rank=header["rank"],
            began=header["began"],
            zero_s=header["zero"],
            command=tuple(header["command"]),
            versions=header["versions"],
        ),
        chips=tuple(section.chips),
        calls=tuple(sorted(section.calls, key=lambda call: call.number)),
        memory=tuple(section.memory),
        operations=tuple(operations),
        failure=section.failure,
        finished=section.finished,
    )
