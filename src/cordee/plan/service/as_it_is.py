"""What the deployment of a script takes on a kind of chip."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator
from cordee.plan.deployment import Deployment, Precision
from cordee.plan.scripts.serving import ServingAsked
from cordee.plan.service.compare import ServingOutcome, nearest, precision_for
from cordee.plan.service.search import ServingPlan, judged
from cordee.plan.serving.memory import holding


def precision_on(asks: ServingAsked, cache: str, chip: Accelerator) -> Precision:
    """The script's, or as many bits as the chip multiplies in."""
    kept = nearest(cache, chip).cache
    try:
        return precision_for(asks.dtype, kept, chip)
    except UsageError:
        return precision_for("auto", kept, chip)


def deployed(asks: ServingAsked, found: ServingOutcome) -> Deployment:
    """The script's own deployment, with the engine that the best found has."""
    scheduling = found.wanted.scheduling
    return Deployment(
        model=asks.model,
        chip=found.chip,
        precision=found.wanted.precision,
        engine=asks.spread,
        replicas=asks.replicas,
        drafting=found.wanted.drafting,
        scheduling=replace(
            scheduling,
            most=asks.most or scheduling.most,
            chunk=asks.chunk or scheduling.chunk,
        ),
    )


def told(asks: ServingAsked, outcomes: Sequence[ServingOutcome]) -> Iterator[str]:
    """The script's own deployment on each kind of chip, in a line."""
    for found in outcomes:
        one = deployed(asks, found)
        head = f"{found.chip.name}: the script's deployment, {one.words} in {one.precision.name}"
        plan = judged(one, found.wanted, found.calibration)
        if not holding(one, one.engine, found.wanted.longest).fits:
            yield f"{head}, does not fit on its chips"
        elif plan is None:
            yield f"{head}, keeps none within the limits, not even a single client"
        else:
            yield f"{head}: {_speed(plan)}; {_beside(plan, found)}"
        if asks.dtype not in ("auto", one.precision.name):
            yield f"{found.chip.name} does not multiply in {asks.dtype}: reckoned in {one.precision.name}"
        if asks.cache == "fp8" and one.precision.cache == "int8":
            yield f"{found.chip.name} keeps no keys and values in fp8: reckoned in int8"


def _speed(plan: ServingPlan) -> str:
    served = plan.served
    return (
        f"{plan.candidate.rate_per_s:,.1f} requests/s within the limits, "
        f"{served.first(0.5) * 1e3:,.0f} ms to the first token, {served.between(0.5) * 1e3:.1f} between"
    )


def _beside(plan: ServingPlan, found: ServingOutcome) -> str:
    best = found.best
    more = best.candidate.per_chip / plan.candidate.per_chip - 1
    if more < 0.005:
        return "none found serves more on a chip"
    return f"{best.deployment.words} serves {more:.0%} more on a chip"


def as_data(asks: ServingAsked, outcomes: Sequence[ServingOutcome]) -> dict[str, Any]:
    """The same for a machine."""
    return {
        "engine": asks.engine,
        "model": asks.path,
        "chips": asks.chips,
        "as_it_is": [_data(asks, found) for found in outcomes],
        "remarks": list(asks.remarks),
    }


def _data(asks: ServingAsked, found: ServingOutcome) -> dict[str, Any]:
    one = deployed(asks, found)
    plan = judged(one, found.wanted, found.calibration)
    return {
        "chip": found.chip.name,
        "layout": one.words,
        "dtype": one.precision.name,
        "fits": holding(one, one.engine, found.wanted.longest).fits,
        "requests_per_s": plan and plan.candidate.rate_per_s,
        "ttft_s": plan and plan.served.first(0.5),
        "tpot_s": plan and plan.served.between(0.5),
    }
