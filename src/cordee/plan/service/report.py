"""What a plan of a service says on a terminal, and to a machine."""

from collections.abc import Iterator, Sequence
from math import exp
from typing import Any

from rich.console import Group
from rich.table import Table

from cordee.core.tables import ranked, side_by_side
from cordee.plan.calibration.table import ANY, Kind
from cordee.plan.service.compare import ServingOutcome, shares_of, why
from cordee.plan.service.search import ServingPlan
from cordee.plan.service.wanted import Wanted
from cordee.plan.serving.memory import weight_bytes

GIB = 2**30
KWH_J = 3.6e6


def comparison(outcomes: Sequence[ServingOutcome]) -> Table:
    """One column for each kind of chip."""
    return side_by_side((one.chip.name for one in outcomes), lines(outcomes))


def lines(outcomes: Sequence[ServingOutcome]) -> Iterator[tuple[str, list[str]]]:
    """Each line of it: what it is, and a cell for each kind of chip."""
    best = [outcome.best for outcome in outcomes]
    yield "software", [_software(o) for o in outcomes]
    yield "chips", [f"{plan.deployment.chips:,}" for plan in best]
    yield "layout", [plan.deployment.words for plan in best]
    yield "weights of a chip", [_weights(o) for o in outcomes]
    yield "room for tokens", [f"{tokens_kept(plan):,.0f}" for plan in best]
    yield "requests/s that come", [figure(plan.rate_per_s) for plan in best]
    yield "requests/s within the limits", [figure(p.candidate.rate_per_s) for p in best]
    yield "tokens/s given", [f"{plan.tokens_per_s:,.0f}" for plan in best]
    yield "at once on a copy", [f"{plan.under_way:,.0f}" for plan in best]
    yield "ms to the first token", [_ms(p.served.first(0.5), p.served.first(0.9)) for p in best]
    yield "  mean in 9 of 10 cases", [_range(o.first_s) for o in outcomes]
    yield "ms between tokens", [_ms(p.served.between(0.5), p.served.between(0.9)) for p in best]
    yield "  mean in 9 of 10 cases", [_range(o.between_s) for o in outcomes]
    yield "USD per million tokens", [_cost(o) for o in outcomes]
    yield "kWh per million tokens", [_energy(o) for o in outcomes]
    if len(outcomes) > 1:
        first = best[0]
        title = f"chips for as much as {first.deployment.chips:,} {outcomes[0].chip.name}"
        yield title, [f"{as_much(first, plan):,.0f}" for plan in best]
    yield "most of the time", [outcome.bottleneck for outcome in outcomes]


def as_much(first: ServingPlan, other: ServingPlan) -> float:
    """Chips that serve within the limits what the first do."""
    return first.candidate.rate_per_s / other.candidate.per_chip


def tokens_kept(plan: ServingPlan) -> float:
    """Tokens of requests that all copies together can keep."""
    held, deployment = plan.candidate.holding, plan.deployment
    requests = held.cache / (held.request_bytes or 1.0) * held.groups * deployment.replicas
    return requests * plan.tokens


def _software(outcome: ServingOutcome) -> str:
    precision = outcome.wanted.precision
    kept = f", cache {precision.cache}" if precision.cache != "bf16" else ""
    return f"{outcome.stack} {precision.name}{kept}"


def _weights(outcome: ServingOutcome) -> str:
    return f"{weights_gib(outcome.best)} of {outcome.chip.memory_bytes / GIB:.0f} GiB"


def weights_gib(plan: ServingPlan) -> str:
    """Of a chip; before a plus, of one that reads prompts."""
    own = f"{plan.candidate.holding.weights / GIB:.1f}"
    reader = plan.deployment.prefill
    if reader is None:
        return own
    return f"{weight_bytes(plan.deployment, reader) / GIB:.1f} + {own}"


def figure(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def _ms(median: float, most: float) -> str:
    return f"{figure(median * 1e3)}; 9 of 10 below {figure(most * 1e3)}"


def _range(interval: tuple[float, float, float]) -> str:
    return f"{figure(interval[0] * 1e3)} to {figure(interval[2] * 1e3)}"


def _cost(outcome: ServingOutcome) -> str:
    found = outcome.cost_usd
    if found is None:
        return "no price known"
    low, high = found
    return f"{low:,.3g}" if low == high else f"{low:,.3g} to {high:,.3g}"


def _energy(outcome: ServingOutcome) -> str:
    found = outcome.energy_j
    return "-" if found is None else f"{found / KWH_J:,.3g}"


def ranking(outcome: ServingOutcome, top: int) -> Group:
    """The best deployments on one chip, and why the others are worse."""
    title = f"{outcome.chip.name}: the best of {outcome.tried:,} layouts, {outcome.fit:,} fit"
    numbers = ("chips", "requests/s", "TTFT ms", "TPOT ms", "GiB")
    return ranked(
        numbers,
        (
            (cells(plan), "" if plan is outcome.best else why(outcome.best, plan))
            for plan in outcome.plans[:top]
        ),
        title,
    )


def cells(plan: ServingPlan) -> Iterator[str]:
    """Of a layout in a ranking, without the reason."""
    yield plan.deployment.words
    yield f"{plan.deployment.chips:,}"
    yield figure(plan.candidate.rate_per_s)
    yield f"{plan.served.first(0.5) * 1e3:,.0f}"
    yield f"{plan.served.between(0.5) * 1e3:,.3g}"
    yield weights_gib(plan)


def remarks(wanted: Wanted, outcomes: Sequence[ServingOutcome]) -> Iterator[str]:
    """What a reader must know before a figure is relied on."""
    yield from (f"{wanted.model.name}: {remark}" for remark in wanted.model.remarks)
    if wanted.recording:
        yield f"{wanted.recording.words}; the first of them are simulated, stretched to the rate above"
    longest = wanted.model.longest
    if longest and wanted.longest > longest:
        yield f"{wanted.model.name} was made for {longest:,} tokens, a request has {wanted.longest:,}"
    if any(plan.deployment.prefill for outcome in outcomes for plan in outcome.plans):
        yield "before a plus stand the copies that read prompts, behind it those that give tokens"
    for outcome in outcomes:
        yield (
            f"{outcome.chip.name}: the intervals are those of predictions for versions of engines that "
            f"nothing was fitted to: {basis(outcome.judged_by)}"
        )
        yield from (f"{outcome.chip.name}: {warning}" for warning in outcome.warnings)
    if any(outcome.chip.maker == "Huawei" for outcome in outcomes):
        yield (
            "guidance of the US Bureau of Industry and Security of May 2025 says that use of Ascend 910B, "
            "910C and 910D may breach export rules: ask somebody who knows before you buy"
        )


def basis(kind: Kind) -> str:
    """Which results an interval is taken from."""
    parts = (kind.generation, kind.stack, kind.model)
    return " ".join(part for part in parts if part not in ("", ANY)) or "all inference results"


def as_data(wanted: Wanted, outcomes: Sequence[ServingOutcome], top: int) -> dict[str, Any]:
    """The same for a machine."""
    return {
        "model": wanted.model.name,
        "parameters": wanted.model.parameters,
        "active_parameters": wanted.model.active_parameters,
        "prompt": wanted.prompt,
        "answer": wanted.answer,
        "ttft_limit_s": wanted.first_s,
        "tpot_limit_s": wanted.between_s,
        "chips": [_outcome(outcome, top) for outcome in outcomes],
        "remarks": list(remarks(wanted, outcomes)),
    }


def _outcome(outcome: ServingOutcome, top: int) -> dict[str, Any]:
    return {
        "chip": outcome.chip.name,
        "software": outcome.stack,
        "dtype": outcome.wanted.precision.name,
        "cache_dtype": outcome.wanted.precision.cache,
        "layouts_tried": outcome.tried,
        "layouts_that_fit": outcome.fit,
        "tpot_factor_9_of_10": exp(outcome.off),
        "ttft_factor_9_of_10": exp(outcome.off_first),
        "usd_per_million_tokens": outcome.cost_usd,
        "j_per_million_tokens": outcome.energy_j,
        "plans": [_plan(outcome, plan) for plan in outcome.plans[:top]],
    }


def _plan(outcome: ServingOutcome, plan: ServingPlan) -> dict[str, Any]:
    deployment, served = plan.deployment, plan.served
    held = plan.candidate.holding
    degrees = ("tensor", "data", "pipeline", "expert")
    quantiles = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    return {
        "layout": {name: getattr(deployment.engine, name) for name in degrees},
        "copies": deployment.replicas,
        "chips": deployment.chips,
        "within_limits": plan.meets,
        "requests_per_s": plan.rate_per_s,
        "most_requests_per_s": plan.candidate.rate_per_s,
        "tokens_per_s": plan.tokens_per_s,
        "ttft_s": {"mean": served.mean_first_s} | {n: served.first(part) for n, part in quantiles},
        "tpot_s": {"mean": served.mean_between_s}
        | {n: served.between(part) for n, part in quantiles},
        "preempted": served.preempted,
        "shares_of_tpot": shares_of(plan),
        "memory_bytes": {
            "weights": held.weights,
            "activations": held.activations,
            "libraries": held.libraries,
            "cache": held.cache,
        },
        "tokens_kept": tokens_kept(plan),
        "why_not_the_first": None if plan is outcome.best else why(outcome.best, plan),
    }
