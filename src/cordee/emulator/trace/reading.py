"""Reads traces. docs/trace.md describes the lines."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.emulator.trace.records import (
    VERSION,
    Call,
    Chip,
    Difference,
    Failure,
    Header,
    Memory,
    Phase,
    Place,
    Process,
    Signature,
    Support,
    Tensor,
)


def read(path: Path) -> tuple[Process, ...]:
    """The processes in the trace file at `path`, by rank, then by number.

    A last line that was cut off, because the process was killed, is left out. Raises `UsageError`
    where there is no file, or where it is not a trace of this version.
    """
    try:
        with path.open("rb") as file:
            found = [_process(section) for section in _sections(path, file)]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
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
        if "trace" in entry:
            if section:
                yield section
            if entry["trace"] != VERSION:
                raise UsageError(f"{path}, line {number}: version {entry['trace']}, not {VERSION}")
            section = _Section(entry)
        elif section is None:
            raise UsageError(f"{path}: not a trace: the first line is no header")
        else:
            section.add(entry)
    if section:
        yield section


@dataclass(slots=True)
class _Section:
    """Lines of one process, put together."""

    header: dict[str, Any]
    signatures: dict[int, Signature] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    chips: list[Chip] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    failure: Failure | None = None
    finished: bool = False

    def add(self, entry: dict[str, Any]) -> None:
        kind = next(iter(entry))  # the first key names the kind of line
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


def _process(section: _Section) -> Process:
    header = section.header
    return Process(
        header=Header(
            process=header["process"],
            rank=header["rank"],
            began=header["began"],
            command=tuple(header["command"]),
            versions=header["versions"],
        ),
        chips=tuple(section.chips),
        calls=tuple(sorted(section.calls, key=lambda call: call.number)),
        memory=tuple(section.memory),
        failure=section.failure,
        finished=section.finished,
    )
