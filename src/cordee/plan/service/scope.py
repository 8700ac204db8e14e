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
from cordee.plan.serving.steady import Steady, steady, works_of

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
    same = one if one.wanted.chips else _on_as_many(one, fixed, known)
    for what, chip in changed(one.chip):
        yield _sensitivity(what, same, fixed, chip, known)
    if fixed.precision.cache == "bf16":
        few = replace(fixed.precision, cache="int8" if one.chip.maker == "Huawei" else "fp8")
        eight = replace(fixed, precision=few)
        yield _sensitivity("keys and values in 8 bits", same, eight, one.chip, known)
    kept = replace(fixed, cached=(1 + fixed.cached) / 2)
    words = "half the prompt kept from earlier ones" if not fixed.cached else "half as much to read"
    yield _sensitivity(words, same, kept, one.chip, known)


def _on_as_many(one: ServingOutcome, fixed: Wanted, known: ServingCalibrations) -> ServingOutcome:
    """What serves most on the chips that a rate took: that plan itself where no other is found."""
    try:
        found = serving_outcome(fixed, one.chip, one.price, known)
    except UsageError:
        return one
    return found if _gain(found, one) > 1 else one


def _sensitivity(
    what: str, same: ServingOutcome, asked: Wanted, chip: Accelerator, known: ServingCalibrations
) -> Sensitivity:
    """Of the chips that as many requests take; and what the layout as it is makes of the change.

    The search simulates a few layouts only, and may miss that one: it is always among those compared.
    """
    before, after = _as_it_is(same, same.wanted, same.chip), _as_it_is(same, asked, chip)
    gain = after.requests_per_s / before.requests_per_s
    remark = f"{after.between_s * 1e3:.3g} ms in place of {before.between_s * 1e3:.3g}"
    try:
        other = serving_outcome(asked, chip, same.price, known)
    except UsageError:
        return Sensitivity(what=what, change=1 / gain - 1, remark=remark)
    if _gain(other, same) > gain:
        gain, words = _gain(other, same), other.best.deployment.words
        remark += f"; then {words}" if words != same.best.deployment.words else ""
    return Sensitivity(what=what, change=1 / gain - 1, remark=remark)


def _gain(other: ServingOutcome, one: ServingOutcome) -> float:
    """How many times the requests of a chip; 0 where only `one` stays within the limits."""
    if one.best.meets and not other.best.meets:
        return 0.0
    return other.best.candidate.per_chip / one.best.candidate.per_chip


def _as_it_is(same: ServingOutcome, asked: Wanted, chip: Accelerator) -> Steady:
    """The best layout with as many requests at once, for what is asked now."""
    one = replace(same.best.deployment, chip=chip, precision=asked.precision)
    clients = same.best.candidate.clients * one.replicas
    return steady(works_of(one), traffic_of(asked, clients), same.calibration)
