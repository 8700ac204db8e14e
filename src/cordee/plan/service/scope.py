"""A service beside others like it: within other limits, and on chips as they are not."""

from collections.abc import Iterator
from dataclasses import replace

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator
from cordee.plan.calibration.serving_table import ServingCalibrations
from cordee.plan.changes import changed
from cordee.plan.page import Sensitivity
from cordee.plan.service.candidates import traffic_of
from cordee.plan.service.compare import ServingOutcome, serving_outcome
from cordee.plan.service.wanted import Wanted
from cordee.plan.serving.steady import steady, works_of

TIGHTER = (0.4, 0.7)
"""Parts of the time that the best takes, as limits."""
LOOSER = (1.5, 2.5)
"""Times the limit that was asked for."""


def within_other_limits(
    one: ServingOutcome, limit: str, taken_s: float, known: ServingCalibrations
) -> Iterator[ServingOutcome]:
    """The service with `limit`, a time of `Wanted`, set shorter than `taken_s` and longer, where something keeps it."""
    yield one
    asked_s = getattr(one.wanted, limit)
    limits = [part * min(taken_s, asked_s) for part in TIGHTER]
    for limit_s in (*limits, *(part * asked_s for part in LOOSER)):
        asked = replace(one.wanted, **{limit: limit_s})
        try:
            found = serving_outcome(asked, one.chip, one.price, known)
        except UsageError:  # nothing is as quick as that
            continue
        if found.best.meets:
            yield found


def sensitivities(one: ServingOutcome, known: ServingCalibrations) -> Iterator[Sensitivity]:
    """The best layout on each chip that is not, and for requests that are others, searched anew."""
    chips = one.wanted.chips or one.best.deployment.chips
    fixed = replace(one.wanted, chips=chips, rate_per_s=None)
    same = one if one.wanted.chips else serving_outcome(fixed, one.chip, one.price, known)
    for what, chip in changed(one.chip):
        yield _sensitivity(what, same, fixed, chip, known)
    if fixed.precision.cache == "bf16":
        few = replace(fixed.precision, cache="int8" if one.chip.maker == "Huawei" else "fp8")
        eight = replace(fixed, precision=few)
        yield _sensitivity("keys and values in 8 bits", same, eight, one.chip, known)
    kept = replace(fixed, cached=(1 + fixed.cached) / 2)
    words = "half the prompt kept from earlier ones" if not fixed.cached else "half as much to read"
    yield _sensitivity(words, same, kept, one.chip, known)


def _sensitivity(
    what: str, same: ServingOutcome, asked: Wanted, chip: Accelerator, known: ServingCalibrations
) -> Sensitivity:
    """Of the chips that as many requests take; and what the layout as it is makes of the change."""
    other = serving_outcome(asked, chip, same.price, known)
    before, after = same.best.deployment.words, other.best.deployment.words
    remark = f"{_between_ms(same, asked, chip):.3g} ms in place of {_between_ms(same, same.wanted, same.chip):.3g}"
    return Sensitivity(
        what=what,
        change=same.best.candidate.per_chip / other.best.candidate.per_chip - 1,
        remark=f"{remark}; then {after}" if after != before else remark,
    )


def _between_ms(same: ServingOutcome, asked: Wanted, chip: Accelerator) -> float:
    """Between tokens, of as many requests at once in the layout as it is."""
    one = replace(same.best.deployment, chip=chip, precision=asked.precision, replicas=1)
    traffic = traffic_of(asked, same.best.candidate.clients)
    return steady(works_of(one), traffic, same.calibration).between_s * 1e3
