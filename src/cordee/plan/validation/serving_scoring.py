"""Every published inference result predicted by what other groups say, and how far off that is.

Twice: with other results of its version of the engine known ("calibrated"), and with none of that
version known. Times and speeds come from the simulation of the queue.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, log

from cordee.core.errors import UsageError
from cordee.plan.calibration.serving_fitting import Measure, metrics
from cordee.plan.calibration.serving_table import ServingCalibrations, serving_calibration
from cordee.plan.calibration.table import Kind
from cordee.plan.calibration.widths import nearest
from cordee.plan.serving.traffic import serve
from cordee.plan.validation.peers import peers
from cordee.plan.validation.scoring import Family, family, intervals
from cordee.plan.validation.serving_results import METRICS, ServingResult, serving_results
from cordee.plan.validation.serving_splits import folds, measure
from cordee.plan.validation.splits import SPLITS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingScore:
    """One figure of a result, beside what was predicted without its group."""

    result: ServingResult
    metric: str
    kind: Kind
    calibrated: bool
    """Whether other groups of its version of the engine were known."""
    split: int
    published: float
    predicted: float

    @property
    def error(self) -> float:
        """Of the published figure; above 0 where too much was predicted."""
        return self.predicted / self.published - 1

    @property
    def residual(self) -> float:
        """The logarithm of predicted by published."""
        return log(self.predicted / self.published)

    @property
    def group(self) -> str:
        """What errs alike."""
        return self.result.group if self.calibrated else self.result.family


def serving_scores(
    calibrations: Callable[[int], ServingCalibrations] = serving_calibration,
    results: Sequence[ServingResult] | None = None,
) -> tuple[ServingScore, ...]:
    """Every figure, predicted with the calibrations of the two splits that leave it out."""
    known = serving_results() if results is None else results
    if not calibrations(1).fitted:
        raise UsageError(
            "no calibration is there that leaves results out: python tools/calibrate_serving.py "
            "fits them, in some minutes"
        )
    where = folds(known)
    found: list[ServingScore] = []
    for result in known:
        one, fold = measure(result), where[result.id]
        found += _scores(result, one, calibrations, fold.group, calibrated=True)
        found += _scores(result, one, calibrations, fold.stack, calibrated=False)
    return tuple(found)


@cache
def shipped_scores() -> tuple[ServingScore, ...]:
    """The same with the calibrations that are shipped, reckoned once in a process."""
    return serving_scores()


def _scores(
    result: ServingResult,
    one: Measure,
    calibrations: Callable[[int], ServingCalibrations],
    split: int,
    *,
    calibrated: bool,
) -> list[ServingScore]:
    found = calibrations(split).find(one.kind, one.family)
    simulated = metrics(serve(one.works.decode.deployment, one.traffic, found))
    return [
        ServingScore(
            result=result,
            metric=metric,
            kind=one.kind,
            calibrated=calibrated,
            split=split,
            published=published,
            predicted=simulated[metric],
        )
        for metric, published in one.published.items()
    ]


def serving_families(known: Sequence[ServingScore]) -> tuple[Family, ...]:
    """Errors by chip, engine and metric, calibrated on the version of the engine."""
    by_name: defaultdict[str, list[ServingScore]] = defaultdict(list)
    for score in known:
        if score.calibrated:
            result = score.result
            by_name[f"{score.metric}  {result.chip}  {result.stack}"].append(score)
    covered = _covered(known)
    return tuple(family(name, by_name[name], covered) for name in sorted(by_name))


def serving_targets(known: Sequence[ServingScore]) -> tuple[Family, ...]:
    """Each metric, on all chips and on Ascend, calibrated and not; then what others publish errors of."""
    covered = _covered(known)
    found = []
    for metric in METRICS:
        for calibrated in (True, False):
            words = "calibrated on the stack" if calibrated else "not calibrated"
            theirs = [s for s in known if s.metric == metric and s.calibrated == calibrated]
            ascend = [s for s in theirs if s.kind.generation.startswith("ascend")]
            if theirs:
                found.append(family(f"{metric}, {words}", theirs, covered))
            if ascend:
                found.append(family(f"{metric} on Ascend, {words}", ascend, covered))
    plain = [score for score in known if not score.calibrated]
    speeds = [score for score in plain if score.metric == "throughput"]
    parts = (*_parts([s for s in plain if s.metric == "TPOT"]), *_guessed(speeds), *_beside(speeds))
    return (*found, *(family(name, theirs, covered) for name, theirs in parts if theirs))


def _parts(scores: Sequence[ServingScore]) -> Iterator[tuple[str, Sequence[ServingScore]]]:
    """Of times between tokens, not calibrated: parts for which others' errors are known."""
    nvidia = [s for s in scores if not s.kind.generation.startswith("ascend")]
    for chip in sorted({s.result.chip for s in nvidia}):
        yield f"TPOT on {chip}, not calibrated", [s for s in nvidia if s.result.chip == chip]
    for model in ("dense", "mixture"):
        name = f"TPOT of {model} models on NVIDIA, not calibrated"
        yield name, [s for s in nvidia if s.kind.model == model]
    apart = [s for s in nvidia if s.result.prefill_replicas]
    yield "TPOT where prompts are read apart, on NVIDIA, not calibrated", apart


def _guessed(speeds: Sequence[ServingScore]) -> Iterator[tuple[str, Sequence[ServingScore]]]:
    """On Ascend, apart: no publication says how many guessed tokens are accepted."""
    ascend = [s for s in speeds if s.kind.generation.startswith("ascend")]
    plain = [s for s in ascend if not s.result.drafts]
    yield "throughput on Ascend, no tokens guessed, not calibrated", plain
    guessed = [s for s in ascend if s.result.drafts]
    yield "throughput on Ascend, tokens guessed, not calibrated", guessed


def _beside(speeds: Sequence[ServingScore]) -> Iterator[tuple[str, Sequence[ServingScore]]]:
    """The very results that another planner was run on."""
    for peer in peers():
        if peer.results:
            yield peer.family, [s for s in speeds if s.result.id in peer.results]


def _covered(known: Sequence[ServingScore]) -> Mapping[ServingScore, bool]:
    """Of each figure, whether it lies in the interval that the errors of the other splits give."""
    found = {}
    for metric in METRICS:
        for split in range(1, 2 * SPLITS + 1):
            alike = [s for s in known if s.metric == metric and s.calibrated == (split <= SPLITS)]
            others = intervals([score for score in alike if score.split != split])
            for score in alike:
                if score.split == split:
                    off = nearest(others, score.kind)[0] if others else inf
                    found[score] = abs(score.residual) <= off
    return found
