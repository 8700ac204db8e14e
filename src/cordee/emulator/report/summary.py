"""What a report says, worked out from traces: no HTML, no files."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cordee.emulator.report.numerics import Numerics, numerics
from cordee.emulator.timeline import name
from cordee.emulator.trace.records import Call, Chip, Failure, Memory, Process, Signature, Support

SITES_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the program ran, as its starter saw it."""

    command: Sequence[str]
    """The program and its arguments."""
    exit_code: int
    """128 + number for a signal."""
    began: datetime
    """When it was started."""
    duration_s: float
    """Until it ended, on this computer."""
    interrupted: bool = False
    """Whether someone stopped it."""


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """All calls of one operator."""

    operator: str
    support: Support
    calls: int
    share: float  # of all calls, 0 to 1
    moved_bytes: int  # inputs and outputs of all calls
    dtypes: tuple[str, ...]
    shapes: str  # of the most frequent signature
    signatures: int
    sites: tuple[tuple[str, int], ...]  # with their calls, most frequent first
    more_sites: int
    failed: int
    why: str  # the first failure's text
    copied_bytes: int  # by the copies that the calls made
    copies: int


@dataclass(frozen=True, slots=True)
class CollectiveRow:
    """Calls of one collective over one group on one shape."""

    operator: str
    group: str
    ranks: int
    calls: int
    dtypes: tuple[str, ...]
    size_bytes: int  # of the inputs of one call
    phases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemorySeries:
    """Memory of one chip as one process sees it."""

    label: str
    chip: Chip
    samples: tuple[Memory, ...]
    peak_bytes: int
    peak_reserved_bytes: int

    @property
    def share(self) -> float:
        """Of the capacity, at the peak."""
        return self.peak_reserved_bytes / self.chip.capacity_bytes


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything on the page."""

    processes: tuple[Process, ...]  # those that used a chip, or all where none did
    calls: int
    operators: tuple[OperatorRow, ...]
    by_support: tuple[tuple[Support, int, float], ...]  # calls and share, in the order of Support
    by_phase: tuple[tuple[str, int, int], ...]  # calls and moved bytes
    collectives: tuple[CollectiveRow, ...]
    memory: tuple[MemorySeries, ...]
    failures: tuple[tuple[str, Failure], ...]  # with the names of the processes
    numerics: Numerics | None
    chip: str
    chips: int

    def rows(self, *supports: Support) -> tuple[OperatorRow, ...]:
        """The operators of which a chip makes this."""
        return tuple(row for row in self.operators if row.support in supports)

    def failed(self) -> tuple[OperatorRow, ...]:
        """The operators that raised at least once."""
        return tuple(row for row in self.operators if row.failed)


def summarise(processes: Sequence[Process]) -> Summary:
    """What the traces of one run say together."""
    calls = [call for process in processes for call in process.calls]
    rows = sorted(_operators(processes, len(calls)), key=lambda row: (-row.calls, row.operator))
    counts = Counter(call.signature.support for call in calls)
    chips = {(p.header.process, chip.device): chip for p in processes for chip in p.chips}
    return Summary(
        processes=tuple(p for p in processes if p.calls) or tuple(processes),
        calls=len(calls),
        operators=tuple(rows),
        by_support=tuple((s, counts[s], counts[s] / len(calls)) for s in Support if counts[s]),
        by_phase=tuple(_phases(calls)),
        collectives=tuple(_collectives(calls)),
        memory=tuple(series for process in processes for series in _memory(process)),
        failures=tuple(_failures(processes)),
        numerics=numerics(processes),
        chip=next((chip.name for chip in chips.values()), ""),
        chips=len(chips),
    )


def _failures(processes: Sequence[Process]) -> Iterator[tuple[str, Failure]]:
    failed = [(p, p.failure) for p in processes if p.failure]
    # A launcher fails because its ranks do: what they say is what is of interest.
    of_ranks = [(p, failure) for p, failure in failed if p.header.rank is not None]
    alike: dict[tuple[str, str], list[tuple[Process, Failure]]] = defaultdict(list)
    for process, failure in of_ranks or failed:
        alike[failure.kind, failure.site].append((process, failure))
    for group in alike.values():
        yield ", ".join(name(process) for process, _ in group), group[0][1]


def _operators(processes: Sequence[Process], total: int) -> Iterator[OperatorRow]:
    groups: dict[tuple[str, Support], list[Call]] = defaultdict(list)
    copied: Counter[tuple[str, Support]] = Counter()
    copies: Counter[tuple[str, Support]] = Counter()
    for process in processes:
        for call in process.calls:
            groups[call.signature.operator, call.signature.support].append(call)
        for outer, call in _nested(process):
            key = (outer.signature.operator, outer.signature.support)
            copied[key] += call.signature.output_bytes
            copies[key] += 1
    for key, calls in groups.items():
        yield _row(*key, calls, total, (copied[key], copies[key]))


def _nested(process: Process) -> Iterator[tuple[Call, Call]]:
    """Calls with the call that made them."""
    by_number = {call.number: call for call in process.calls}
    for call in process.calls:
        if call.within in by_number:
            yield by_number[call.within], call


def _row(
    operator: str, support: Support, calls: list[Call], total: int, copies: tuple[int, int]
) -> OperatorRow:
    # Signatures are one object each in a process, so counting those first is quick.
    by_identity = Counter(id(call.signature) for call in calls)
    signatures = {id(call.signature): call.signature for call in calls}
    counted: Counter[str] = Counter()
    for key, count in by_identity.items():
        counted[shapes(signatures[key])] += count
    sites = Counter(call.place.site or call.place.phase for call in calls).most_common()
    dtypes = Counter(t.dtype for s in signatures.values() for t in (*s.inputs, *s.outputs))
    failures = [call.failed for call in calls if call.failed is not None]
    return OperatorRow(
        operator=operator,
        support=support,
        calls=len(calls),
        share=len(calls) / total,
        moved_bytes=sum(
            (signatures[key].input_bytes + signatures[key].output_bytes) * count
            for key, count in by_identity.items()
        ),
        dtypes=tuple(dtype for dtype, _ in dtypes.most_common()),
        shapes=counted.most_common(1)[0][0],
        signatures=len(counted),
        sites=tuple(sites[:SITES_SHOWN]),
        more_sites=max(0, len(sites) - SITES_SHOWN),
        failed=len(failures),
        why=next(filter(None, failures), ""),
        copied_bytes=copies[0],
        copies=copies[1],
    )


def shapes(signature: Signature) -> str:
    """Shapes of the inputs, and of the outputs where they are other ones: "4×8, 8×2 → 4×2"."""
    inputs = [_shape(t.shape) for t in signature.inputs]
    outputs = [_shape(t.shape) for t in signature.outputs]
    before, after = _shortened(inputs), _shortened(outputs)
    return f"{before} → {after}" if after and set(outputs) - set(inputs) else before or after


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _shortened(shown: list[str]) -> str:
    """Lists of parameters can be hundreds of tensors long."""
    most = 4
    rest = f", … {len(shown)} in all" if len(shown) > most else ""
    return ", ".join(shown[:most]) + rest


def _phases(calls: Iterable[Call]) -> Iterator[tuple[str, int, int]]:
    count: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for call in calls:
        count[call.place.phase] += 1
        moved[call.place.phase] += call.signature.input_bytes + call.signature.output_bytes
    for phase, number in count.most_common():
        yield phase, number, moved[phase]


def _collectives(calls: Iterable[Call]) -> Iterator[CollectiveRow]:
    groups: dict[tuple[object, ...], list[Call]] = defaultdict(list)
    for call in calls:
        signature = call.signature
        if signature.support is Support.COLLECTIVE:
            group = signature.arguments.get("group", "")
            groups[signature.operator, group, signature.input_bytes].append(call)
    for key in sorted(groups, key=lambda key: -len(groups[key])):
        found = groups[key]
        signature = found[0].signature
        size = signature.arguments.get("group_size", 0)
        yield CollectiveRow(
            operator=signature.operator,
            group=str(key[1]),
            ranks=size if isinstance(size, int) else 0,
            calls=len(found),
            dtypes=tuple(sorted({t.dtype for t in signature.inputs})),
            size_bytes=signature.input_bytes,
            phases=tuple(sorted({call.place.phase for call in found})),
        )


def _memory(process: Process) -> Iterator[MemorySeries]:
    several = len(process.chips) > 1
    for chip in process.chips:
        samples = tuple(m for m in process.memory if m.device == chip.device)
        whose = f"{name(process)}, npu:{chip.device}" if several else name(process)
        if samples:
            peak = max(m.peak_bytes for m in samples)
            reserved = max(m.reserved_bytes for m in samples)
            yield MemorySeries(whose, chip, samples, peak, reserved)
