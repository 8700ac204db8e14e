"""How far the results of a run are from float32, by operator and module."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cordee.emulator.trace.records import Call, Difference, Process

# A result is called bad where more of its elements are beyond the tolerance than cancellation in
# half precision explains, or where it lost a finite value.
BAD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class NumericsRow:
    """The calls of one operator in one module, compared."""

    operator: str
    module: str
    phase: str
    dtypes: tuple[str, ...]
    calls: int
    absolute: float
    relative: float
    beyond: float  # in the worst call
    lost: int  # in all calls
    bad: int  # calls


@dataclass(frozen=True, slots=True)
class First:
    """The first bad result of a process."""

    call: Call
    difference: Difference
    process: Process


@dataclass(frozen=True, slots=True)
class Numerics:
    """What a comparison found."""

    compared: int
    left_out: tuple[tuple[str, int], ...]
    rows: tuple[NumericsRow, ...]  # the worst first
    first: First | None


def numerics(processes: Sequence[Process]) -> Numerics | None:
    """What the comparison found; None where the run compared nothing."""
    left_out: Counter[str] = Counter()
    groups: dict[tuple[str, str, str], list[Call]] = defaultdict(list)
    for process in processes:
        for call in process.calls:
            if call.difference:
                key = (call.signature.operator, call.place.module, call.place.phase)
                groups[key].append(call)
            elif call.uncompared:
                left_out[call.uncompared] += 1
    if not groups and not left_out:
        return None
    rows = [_row(key, calls) for key, calls in groups.items()]
    rows.sort(key=lambda row: (row.lost, row.beyond, row.relative), reverse=True)
    return Numerics(
        compared=sum(map(len, groups.values())),
        left_out=tuple(left_out.most_common()),
        rows=tuple(rows),
        first=next(_bad(processes), None),
    )


def is_bad(difference: Difference) -> bool:
    """Whether a result is further off than its dtype explains."""
    return difference.lost > 0 or difference.beyond > BAD_SHARE


def _bad(processes: Sequence[Process]) -> Iterator[First]:
    for process in processes:
        for call in process.calls:
            if call.difference and is_bad(call.difference):
                yield First(call, call.difference, process)


def _row(key: tuple[str, str, str], calls: list[Call]) -> NumericsRow:
    found = [call.difference for call in calls if call.difference]
    dtypes = {t.dtype for call in calls for t in call.signature.outputs}
    return NumericsRow(
        operator=key[0],
        module=key[1],
        phase=key[2],
        dtypes=tuple(sorted(dtypes)),
        calls=len(calls),
        absolute=max(d.absolute for d in found),
        relative=max(d.relative for d in found),
        beyond=max(d.beyond for d in found),
        lost=sum(d.lost for d in found),
        bad=sum(map(is_bad, found)),
    )
