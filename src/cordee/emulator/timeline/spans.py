"""Stretches of time: unions, differences, and how much of each bin they fill."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """From one moment to a later one."""

    begin_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return self.end_s - self.begin_s


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The time that at least one of them covers, in order; empty ones are left out."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.begin_s <= found[-1].end_s:
            found[-1] = Span(found[-1].begin_s, max(found[-1].end_s, span.end_s))
        elif span.end_s > span.begin_s:
            found.append(span)
    return tuple(found)


def without(spans: Sequence[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """What `spans` cover and `others` do not; both as `union` gives them."""
    return tuple(_without(spans, others))


def _without(spans: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    first = 0
    for span in spans:
        while first < len(others) and others[first].end_s <= span.begin_s:
            first += 1
        begin_s = span.begin_s
        for other in others[first:]:
            if other.begin_s >= span.end_s:
                break
            if other.begin_s > begin_s:
                yield Span(begin_s, other.begin_s)
            begin_s = max(begin_s, other.end_s)
        if begin_s < span.end_s:
            yield Span(begin_s, span.end_s)


def shares(spans: Sequence[Span], window: Span, bins: int) -> list[float]:
    """Which share of each of `bins` equal parts of `window` is covered, from 0 to 1."""
    found = [0.0] * bins
    width_s = window.length_s / bins
    for span in spans:
        begin = (max(span.begin_s, window.begin_s) - window.begin_s) / width_s
        end = (min(span.end_s, window.end_s) - window.begin_s) / width_s
        for i in range(int(begin), min(int(end) + 1, bins)) if end > begin else ():
            found[i] += max(0.0, min(end, i + 1) - max(begin, i))
    return [min(share, 1.0) for share in found]
