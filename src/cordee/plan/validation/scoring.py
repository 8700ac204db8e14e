"""Every published result predicted by what the other groups say, and how far off that is."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import ceil, log
from statistics import fmean, median
from typing import Protocol, TypeVar

from cordee.plan.calibration.fitting import fit_all
from cordee.plan.calibration.table import Calibrations, Kind, calibration
from cordee.plan.calibration.widths import levels_of, nearest
from cordee.plan.validation.results import Result, results
from cordee.plan.validation.splits import SPLITS, held_out, measured

COVERED = 0.9
FEWEST = 9
"""Groups from which on a kind has an interval of its own: 9 are the fewest that can tell 9 in 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One result, beside what was predicted without its group."""

    result: Result
    kind: Kind
    split: int
    predicted: float
    """Tokens a second of a chip."""

    @property
    def group(self) -> str:
        return self.result.group

    @property
    def error(self) -> float:
        """Of the published speed; above 0 where too much was predicted."""
        return self.predicted / self.result.tokens_per_s_per_chip - 1

    @property
    def residual(self) -> float:
        """The logarithm of predicted by published."""
        return log(self.predicted / self.result.tokens_per_s_per_chip)


class Scored(Protocol):
    """What any prediction is judged by."""

    @property
    def kind(self) -> Kind: ...

    @property
    def group(self) -> str:
        """What errs alike."""

    @property
    def error(self) -> float: ...

    @property
    def residual(self) -> float: ...


S = TypeVar("S", bound=Scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Errors of results that belong together."""

    name: str
    results: int
    groups: int
    mean_error: float
    """Mean of absolute errors."""
    median_error: float
    bias: float
    """Mean of errors with their signs."""
    covered: float
    """Part of the results that lie in the interval which the other splits give."""


def scores(calibrations: Callable[[int], Calibrations] = calibration) -> tuple[Score, ...]:
    """Every result, predicted with the calibration of the split that leaves its group out."""
    known = results()
    folds = held_out(known)
    return tuple(_score(result, folds[result.group], calibrations) for result in known)


def refitted() -> Callable[[int], Calibrations]:
    """Calibrations of the splits, fitted anew instead of read."""
    known = results()
    folds = held_out(known)

    @cache
    def fitted(split: int) -> Calibrations:
        return fit_all([measured(result) for result in known if folds[result.group] != split])

    return fitted


def _score(result: Result, split: int, calibrations: Callable[[int], Calibrations]) -> Score:
    one = measured(result)
    found = calibrations(split).find(one.kind, one.chip.name, result.release)
    return Score(result=result, kind=one.kind, split=split, predicted=one.predicted(found))


def intervals(known: Sequence[Scored]) -> Mapping[Kind, float]:
    """How far logarithms of predictions are off in 9 of 10 groups, by kind.

    Split-conformal: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005); of n
    errors the ceil((n + 1) * 0.9)-th. Results of a group err alike, so that a group counts as one
    error: that which 9 of 10 of its results keep below. Kinds with few groups take those of their
    generation, or of all.
    """
    by_group: defaultdict[tuple[Kind, str], list[float]] = defaultdict(list)
    for score in known:
        by_group[score.kind, score.group].append(abs(score.residual))
    levels: defaultdict[Kind, list[float]] = defaultdict(list)
    for (kind, _), errors in by_group.items():
        for level in levels_of(kind):
            levels[level].append(quantile(errors))
    return {
        kind: quantile(errors)
        for kind, errors in levels.items()
        if len(errors) >= FEWEST or kind == Kind("")
    }


def quantile(errors: Sequence[float]) -> float:
    place = min(ceil((len(errors) + 1) * COVERED), len(errors))
    return sorted(errors)[place - 1]


def families(known: Sequence[Score]) -> tuple[Family, ...]:
    """Errors by chip, software and class of models; then those that the others have quoted."""
    covered = _covered(known)
    by_name: defaultdict[str, list[Score]] = defaultdict(list)
    for score in known:
        result = score.result
        by_name[f"{result.chip}  {result.stack}  {score.kind.model}"].append(score)
    return tuple(family(name, by_name[name], covered) for name in sorted(by_name))


def targets(known: Sequence[Score]) -> tuple[Family, ...]:
    """Larger families: a kind of chip with all its software."""
    covered = _covered(known)
    kept = [(name, [score for score in known if holds(score)]) for name, holds in TARGETS.items()]
    return tuple(family(name, theirs, covered) for name, theirs in kept if theirs)


def _dense(score: Score) -> bool:
    return score.kind.model == "dense"


TARGETS: Mapping[str, Callable[[Score], bool]] = {
    "H100 dense": lambda s: s.result.chip == "H100-SXM" and _dense(s),
    "H100 dense, llm-foundry": lambda s: (
        s.result.chip == "H100-SXM" and s.result.stack == "llm-foundry"
    ),
    "B200 dense": lambda s: s.result.chip == "B200-SXM" and _dense(s),
    "B200 dense, Megatron-Core": lambda s: s.result.stack == "megatron-core" and _dense(s),
    "A100 dense": lambda s: s.result.chip.startswith("A100") and _named(s) and _dense(s),
    "reference GPU dense": lambda s: not _named(s) and _dense(s),
    "910B dense": lambda s: s.result.chip == "910B2" and _dense(s),
    "strong scaling, 256 to 12,288 A100": lambda s: s.result.publication.startswith("MegaScale"),
    "Ascend mixtures": lambda s: s.kind.generation == "ascend-910b" and not _dense(s),
    "NVIDIA mixtures": lambda s: s.kind.generation != "ascend-910b" and not _dense(s),
    "all": lambda s: True,
}


def _named(score: Score) -> bool:
    return score.result.stack != "mindspeed-reference"


def family(name: str, theirs: Sequence[S], covered: Mapping[S, bool]) -> Family:
    """The errors of some, and in how many cases the interval held."""
    return Family(
        name=name,
        results=len(theirs),
        groups=len({score.group for score in theirs}),
        mean_error=fmean(abs(score.error) for score in theirs),
        median_error=median(abs(score.error) for score in theirs),
        bias=fmean(score.error for score in theirs),
        covered=fmean(covered[score] for score in theirs),
    )


def _covered(known: Sequence[Score]) -> Mapping[Score, bool]:
    """Of each result, whether it lies in the interval that the errors of the other splits give."""
    found = {}
    for split in range(1, SPLITS + 1):
        others = intervals([score for score in known if score.split != split])
        for score in known:
            if score.split == split:
                found[score] = abs(score.residual) <= nearest(others, score.kind)[0]
    return found


def ranked(known: Sequence[Score]) -> tuple[int, int]:
    """Pairs of layouts of a model from one publication: how many are in the right order, of how many."""
    right = pairs = 0
    for a, b in combinations(known, 2):
        if _comparable(a.result, b.result):
            pairs += 1
            right += (a.predicted > b.predicted) == (_speed(a) > _speed(b))
    return right, pairs


def _speed(score: Score) -> float:
    return score.result.tokens_per_s_per_chip


def _comparable(a: Result, b: Result) -> bool:
    same = ("publication", "model", "chip", "stack", "release", "sequence", "dtype", "recipe")
    alike = all(getattr(a, name) == getattr(b, name) for name in same)
    differs = ("tensor", "pipeline", "chunks", "context", "expert", "zero", "recompute", "chips")
    return alike and any(getattr(a, name) != getattr(b, name) for name in differs)
