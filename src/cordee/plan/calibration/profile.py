"""What a profiler exported of training steps: seconds by kind of work, and what was waited for."""

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

PARTS = ("matrix products", "attention", "vector kernels", "communication", "waiting")
ON_CHIP = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
STEP = "ProfilerStep#"
NEEDED = ("Name", "Start Time(us)", "Duration(us)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words(Fact):
    """Words in the names of kernels that do one kind of work."""

    part: str
    words: list[str]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel, with its times in seconds."""

    part: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An average step of one chip."""

    steps: int
    step_s: float
    parts: Mapping[str, float]
    """Seconds of a step; of communication what no other kernel ran beside."""
    remarks: tuple[str, ...] = ()


@cache
def _words() -> tuple[Words, ...]:
    return tuple(rows(files("cordee.plan.calibration") / "kernels.toml", Words))


def part_of(kernel: str) -> str:
    """What a kernel of that name does."""
    low = kernel.lower()
    found = (row.part for row in _words() if any(word in low for word in row.words))
    return next(found, "vector kernels")


def profile(path: Path) -> Profile:
    """Read an export: kernel_details.csv, or a chrome trace. Raises `UsageError`."""
    if path.suffix == ".csv":
        return _of_csv(path)
    return _of_trace(path)


def _of_csv(path: Path) -> Profile:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: {error}") from error
    missing = [name for name in NEEDED if not found or name not in found[0]]
    if missing:
        raise UsageError(
            f"{path}: no column {', '.join(missing)}: the kernel_details.csv is needed that the "
            "profiler of torch_npu writes, with a row for each kernel"
        )
    devices = {row["Device_id"] for row in found if row.get("Device_id")}
    if len(devices) > 1:
        raise UsageError(f"{path}: kernels of {len(devices)} chips: give the export of one")
    kernels = [_of_row(path, number, row) for number, row in enumerate(found, start=2)]
    steps = {row["Step Id"] for row in found if row.get("Step Id")}
    return _profile(path, kernels, len(steps), None)


def _of_row(path: Path, number: int, row: Mapping[str, str]) -> Kernel:
    try:
        start, lasts = (float(row[name].strip()) / 1e6 for name in NEEDED[1:])
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path}, line {number}: a start and a duration are needed") from error
    core = row.get("Accelerator Core") or ""
    moved = core.upper() in ("HCCL", "COMMUNICATION")
    name = f"{row.get('Type') or ''} {row['Name']}"
    return Kernel("communication" if moved else part_of(name), start, start + lasts)


def _of_trace(path: Path) -> Profile:
    events = [one for one in _events(path) if isinstance(one, dict) and one.get("ph") == "X"]
    kernels = [
        Kernel(part_of(str(one.get("name"))), *_span(path, one))
        for one in events
        if str(one.get("cat")).lower() in ON_CHIP
    ]
    if not kernels:
        raise UsageError(
            f"{path}: no kernels of a chip in it: record with ProfilerActivity.CUDA, on Ascend give "
            "the kernel_details.csv instead of a trace"
        )
    steps = {
        str(one["name"]): _span(path, one)
        for one in events
        if str(one.get("name")).startswith(STEP) and one.get("cat") != "gpu_user_annotation"
    }
    spans = list(steps.values())
    whole = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else None
    return _profile(path, kernels, len(steps), whole)


def _span(path: Path, event: Mapping[str, Any]) -> tuple[float, float]:
    try:
        start, lasts = float(event["ts"]) / 1e6, float(event["dur"]) / 1e6
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: {event.get('name')}: without a start and a duration") from error
    return start, start + lasts


def _events(path: Path) -> Sequence[Any]:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found = json.loads(raw)
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{path}: it is no trace that can be read: {error}") from error
    events = found.get("traceEvents") if isinstance(found, dict) else found
    if not isinstance(events, list):
        raise UsageError(
            f"{path}: no traceEvents: a chrome trace of torch.profiler is needed, or kernel_details.csv"
        )
    return events


def _profile(
    path: Path, kernels: Sequence[Kernel], steps: int, whole: tuple[float, float] | None
) -> Profile:
    """Over the span of its steps, or from the first kernel to the last."""
    remarks = [] if steps else [f"{path}: it does not say where steps begin: taken as one"]
    count = max(steps, 1)
    start, end = whole or (min(k.start_s for k in kernels), max(k.end_s for k in kernels))
    inside = [k for k in kernels if k.start_s >= start]
    end = max(end, max((k.end_s for k in inside), default=end)) if whole is None else end
    if end <= start:
        raise UsageError(f"{path}: its kernels take no time")
    parts = _parts(inside, end - start)
    return Profile(
        steps=count,
        step_s=(end - start) / count,
        parts={name: parts[name] / count for name in PARTS},
        remarks=tuple(remarks),
    )


def _parts(kernels: Iterable[Kernel], whole_s: float) -> Mapping[str, float]:
    """Kernels that run beside one another share the time; waiting is when none runs."""
    found: defaultdict[str, float] = defaultdict(float)
    for running, lasts in _slices(kernels):
        computing = [part for part in running if part != "communication"]
        for part in computing or running:
            found[part] += lasts / len(computing or running)
    busy = sum(found.values())
    return {name: found[name] for name in PARTS[:-1]} | {"waiting": max(whole_s - busy, 0.0)}


def _slices(kernels: Iterable[Kernel]) -> Iterator[tuple[list[str], float]]:
    """Stretches of time with the same kernels running."""
    changes = sorted(
        change
        for kernel in kernels
        for change in ((kernel.start_s, 1, kernel.part), (kernel.end_s, -1, kernel.part))
    )
    running: defaultdict[str, int] = defaultdict(int)
    before = 0.0
    for at, change, part in changes:
        parts = [name for name, count in running.items() if count > 0]
        if parts and at > before:
            yield parts, at - before
        running[part] += change
        before = at
