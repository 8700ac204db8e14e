"""Where a step of a traced program begins and ends: from optimizer to optimizer, or from pass to pass."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cordee.core.errors import UsageError
from cordee.plan.traced.trace import Call, Rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One step of every rank."""

    calls: tuple[tuple[Call, ...], ...]
    """By rank."""
    passes: int
    """How many runs of the model forward it has on the first rank."""
    trains: bool
    number: int
    """Which of the run's it is, from 1."""
    of: int
    """How many the run has."""

    @property
    def backward_from(self) -> tuple[int, ...]:
        """Of each rank, the index of the call after the last one backward; all where there is none."""
        return tuple(_after_backward(calls) for calls in self.calls)


def cut(ranks: Sequence[Rank], number: int | None = None) -> Cut:
    """The step `number`; the last of those that have as many calls as most where it is left out.

    Raises `UsageError` where the run has no such step.
    """
    found = [list(_steps(rank.calls)) for rank in ranks]
    trains = bool(found[0])
    if not trains:
        found = [list(_whole(rank.calls)) for rank in ranks]
        if not found[0]:
            raise UsageError("no module ran forward on a chip: trace a run of a model")
    many = min(map(len, found))
    if many == 0:
        raise UsageError(
            "not every rank came to the end of a step: trace a run of two steps or more"
        )
    if number is not None and not 1 <= number <= many:
        raise UsageError(f"--step {number}: the run has steps 1 to {many}")
    index = _usual(found[0][:many]) if number is None else number - 1
    parts = [steps[index] for steps in found]
    calls = tuple(rank.calls[part[0] : part[1]] for rank, part in zip(ranks, parts, strict=True))
    return Cut(
        calls=calls,
        passes=len(starts(calls[0])) or 1,
        trains=trains,
        number=index + 1,
        of=many,
    )


def _steps(calls: Sequence[Call]) -> Iterator[tuple[int, int]]:
    """Ranges that end with an optimizer, before the next pass forward."""
    start, end, backward = 0, None, False
    for index, call in enumerate(calls):
        phase = call.place.phase
        if phase == "backward":
            backward = True
        elif phase == "optimizer" and backward:
            end = index + 1
        elif phase == "forward" and end is not None:
            yield start, end
            start, end, backward = end, None, False
    if end is not None:
        yield start, end


def _whole(calls: Sequence[Call]) -> Iterator[tuple[int, int]]:
    """From the first module that runs to the end."""
    first = next((i for i, call in enumerate(calls) if call.place.module), None)
    if first is not None:
        yield first, len(calls)


def starts(calls: Sequence[Call]) -> list[int]:
    """Where the model runs forward anew: its first place comes again."""
    forward = [
        i for i, call in enumerate(calls) if call.place.module and call.place.phase == "forward"
    ]
    if not forward:
        return []
    first = calls[forward[0]].place
    found, before = [], None
    for index in forward:
        place = calls[index].place
        if place is first and before is not first:
            found.append(index)
        before = place
    return found


def _usual(steps: Sequence[tuple[int, int]]) -> int:
    lengths = [end - start for start, end in steps]
    usual = Counter(lengths[1:] or lengths).most_common(1)[0][0]
    return max(i for i, length in enumerate(lengths) if length == usual)


def _after_backward(calls: Sequence[Call]) -> int:
    last = max((i for i, call in enumerate(calls) if call.place.phase == "backward"), default=None)
    return len(calls) if last is None else last + 1
