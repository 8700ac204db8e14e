"""How often the better of two published deployments is predicted to be the better one."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from cordee.plan.validation.serving_results import ServingResult
from cordee.plan.validation.serving_scoring import ServingScore

FAR = 0.05
"""Part of the smaller one by which published figures are clearly not the same."""
SPREAD = (
    "tensor", "data", "expert", "pipeline", "replicas", "prefill_replicas", "prefill_tensor", "prefill_data",
    "prefill_expert",
)  # fmt: skip
ALIKE = (
    "publication", "model", "chip", "stack", "release", "precision", "cache", "prompt", "answer", "clients",
    "cached", "drafts",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Pairs of one metric."""

    name: str
    pairs: int
    right: int
    far: int
    """Those whose published figures are clearly not the same."""
    far_right: int


def orders(scores: Sequence[ServingScore]) -> tuple[Order, ...]:
    """Of deployments that differ in how a model is spread, under the same clients: times, calibrated and not."""
    return tuple(
        found
        for metric in ("TPOT", "TTFT")
        for calibrated in (True, False)
        if (found := _order(scores, metric, calibrated=calibrated)).pairs
    )


def _order(scores: Sequence[ServingScore], metric: str, *, calibrated: bool) -> Order:
    words = "calibrated on the stack" if calibrated else "not calibrated"
    found = [
        (right, far)
        for a, b in _pairs([s for s in scores if (s.metric, s.calibrated) == (metric, calibrated)])
        for right in [(a.predicted < b.predicted) == (a.published < b.published)]
        for far in [max(a.published, b.published) / min(a.published, b.published) > 1 + FAR]
    ]
    return Order(
        name=f"{metric}, {words}",
        pairs=len(found),
        right=sum(right for right, _ in found),
        far=sum(far for _, far in found),
        far_right=sum(right and far for right, far in found),
    )


def _pairs(scores: Sequence[ServingScore]) -> Iterator[tuple[ServingScore, ServingScore]]:
    alike: defaultdict[tuple[object, ...], list[ServingScore]] = defaultdict(list)
    for score in scores:
        alike[tuple(getattr(score.result, name) for name in ALIKE)].append(score)
    for theirs in alike.values():
        for a, b in combinations(theirs, 2):
            if _spread(a.result) != _spread(b.result):
                yield a, b


def _spread(result: ServingResult) -> tuple[int, ...]:
    return tuple(getattr(result, name) for name in SPREAD)
