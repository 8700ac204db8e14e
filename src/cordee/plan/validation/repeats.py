"""How far apart results of one configuration are that were published more than once.

No planner that is told the configuration can be nearer, on average, than half of that.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from itertools import combinations
from statistics import fmean, median

from cordee.core.facts import Fact, rows
from cordee.plan.validation.serving_results import METRICS, ServingResult, serving_results

NOT_CONFIGURED = (
    "id", "label", "ttft_ms", "tpot_ms", "output_tokens_per_s", "quality", "note", "source"
)  # fmt: skip
"""What two rows of one configuration may differ in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated(Fact):
    """One configuration and its values, in the order of their dates."""

    what: str
    metric: str
    stack: str
    values: tuple[float, ...]
    dates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Apart:
    """How far apart two values of one configuration are, as a part of the smaller one."""

    name: str
    configurations: int
    pairs: int
    mean: float
    median: float
    most: float


@cache
def repeated() -> tuple[Repeated, ...]:
    """Those of tests whose history is public."""
    return tuple(rows(files("cordee.plan.validation") / "repeats.toml", Repeated))


def apart(results: Sequence[ServingResult] | None = None) -> tuple[Apart, ...]:
    """By metric and publication: of rows of the table, and of tests whose history is public."""
    found: defaultdict[str, list[Sequence[float]]] = defaultdict(list)
    known = serving_results() if results is None else results
    for metric in METRICS:
        for theirs in _alike(known):
            values = {one.published[metric] for one in theirs if metric in one.published}
            if len(values) > 1:
                found[f"{metric}, {theirs[0].stack}"].append(sorted(values))
    for one in repeated():
        found[f"{one.metric}, {one.stack}, on different days"].append(one.values)
    return tuple(_apart(name, values) for name, values in found.items())


def _alike(results: Sequence[ServingResult]) -> Iterator[Sequence[ServingResult]]:
    """Rows with one and the same configuration, and different times: equal ones are one run named twice."""
    names = [field.name for field in fields(ServingResult) if field.name not in NOT_CONFIGURED]
    groups: defaultdict[tuple[object, ...], dict[float | None, ServingResult]] = defaultdict(dict)
    for result in results:
        key = tuple(getattr(result, name) for name in names)
        groups[key].setdefault(result.ttft_ms or result.output_tokens_per_s, result)
    yield from (tuple(theirs.values()) for theirs in groups.values() if len(theirs) > 1)


def _apart(name: str, configurations: Sequence[Sequence[float]]) -> Apart:
    ratios = [
        max(a, b) / min(a, b) - 1 for values in configurations for a, b in combinations(values, 2)
    ]
    return Apart(name, len(configurations), len(ratios), fmean(ratios), median(ratios), max(ratios))
