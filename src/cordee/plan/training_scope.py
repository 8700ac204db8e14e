"""A training run beside others like it: on more or fewer chips, and on chips as they are not."""

from collections.abc import Iterator
from dataclasses import replace

from cordee.core.errors import UsageError
from cordee.plan.calibration.table import Calibrations
from cordee.plan.changes import changed
from cordee.plan.compare import Outcome, Request, outcome
from cordee.plan.page import Sensitivity

LADDER = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Parts of the number of chips that was asked for."""


def on_more_and_fewer(request: Request, one: Outcome, known: Calibrations) -> Iterator[Outcome]:
    """The same run on a quarter to four times the chips, where it fits."""
    chips = request.chips or one.best.job.layout.chips
    for part in LADDER:
        if part == 1:
            yield one
            continue
        asked = replace(_on(request, one), chips=max(round(chips * part), 1))
        try:
            yield outcome(asked, one.chip, one.price, known)
        except UsageError:  # it does not fit on so few, or the batch not on so many
            continue


def sensitivities(request: Request, one: Outcome, known: Calibrations) -> Iterator[Sensitivity]:
    """The best layout on each chip that is not, and with half the batch, searched anew."""
    fixed = _on(request, one)
    for what, chip in changed(one.chip):
        yield _sensitivity(what, one, outcome(fixed, chip, one.price, known))
    half = replace(fixed, batch=max(fixed.batch // 2, 1))
    try:
        yield _sensitivity("half the batch", one, outcome(half, one.chip, one.price, known))
    except UsageError:
        yield Sensitivity(what="half the batch", change=None, remark="no layout shares it out")


def _on(request: Request, one: Outcome) -> Request:
    """On as many chips as were found, in the dtype that these have."""
    chips = request.chips or one.best.job.layout.chips
    return replace(request, chips=chips, deadline_s=None, dtype=one.best.job.program.dtype)


def _sensitivity(what: str, one: Outcome, other: Outcome) -> Sensitivity:
    before, after = one.best.job.layout.words, other.best.job.layout.words
    return Sensitivity(
        what=what,
        change=one.best.tokens_per_s / other.best.tokens_per_s - 1,
        remark=f"then {after}" if after != before else "",
    )
