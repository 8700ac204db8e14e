"""The errors of predicted inference as tables, as data, and as a plot of predicted against published."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from math import exp, log10
from typing import Any

from rich.console import Group
from rich.table import Table

from cordee.core.tables import figures
from cordee.plan.calibration.widths import nearest
from cordee.plan.validation.repeats import Apart, apart
from cordee.plan.validation.report import COLOURS, errors_of, lines_of
from cordee.plan.validation.scoring import intervals
from cordee.plan.validation.serving_ranking import Order, orders
from cordee.plan.validation.serving_results import METRICS
from cordee.plan.validation.serving_scoring import (
    ServingScore,
    serving_families,
    serving_targets,
)

WIDE, HIGH, EDGE = 960, 380, 56
SPANS = {"TPOT": (0.1, 2.5), "TTFT": (1.3, 5.7), "throughput": (-0.1, 5.1)}
"""Powers of ten that are shown, of milliseconds and of tokens a second."""


REPEATS = (
    "of one configuration", "configurations", "pairs", "mean distance", "median", "largest",
)  # fmt: skip


ORDERS = (
    "which of two deployments is better",
    "pairs",
    "in the right order",
    "5% apart or more",
    "in the right order",
)


def serving_tables(scores: Sequence[ServingScore]) -> tuple[Group | Table, ...]:
    """Each metric beside the others' figures, each chip with each engine, what repeats differ by, and orders."""
    repeats = figures(REPEATS[0], REPEATS[1:])
    for one in apart():
        repeats.add_row(*_cells(one))
    ordered = figures(ORDERS[0], ORDERS[1:])
    for pairs in orders(scores):
        ordered.add_row(*_order_cells(pairs))
    return (
        errors_of("inference", serving_targets(scores)),
        errors_of("metric, chip, engine (calibrated)", serving_families(scores)),
        repeats,
        ordered,
    )


def serving_markdown(scores: Sequence[ServingScore]) -> str:
    """The same as a page."""
    lines = [
        *lines_of("inference", serving_targets(scores)),
        *lines_of("metric, chip, engine (calibrated)", serving_families(scores)),
        *_repeats(),
        *_orders(scores),
    ]
    return "\n".join(lines)


def _repeats() -> Iterator[str]:
    yield "How far apart published results are that say the same of their configuration, as a part of the smaller one:"
    yield ""
    yield "| " + " | ".join(REPEATS) + " |"
    yield "|---" * len(REPEATS) + "|"
    yield from ("| " + " | ".join(_cells(one)) + " |" for one in apart())
    yield ""


def _orders(scores: Sequence[ServingScore]) -> Iterator[str]:
    yield "How often the better of two deployments is predicted to be it: of one model from one publication, spread otherwise, under the same clients:"
    yield ""
    yield "| " + " | ".join(ORDERS) + " |"
    yield "|---" * len(ORDERS) + "|"
    yield from ("| " + " | ".join(_order_cells(one)) + " |" for one in orders(scores))
    yield ""


def _order_cells(one: Order) -> Iterator[str]:
    yield one.name
    yield f"{one.pairs}"
    yield f"{one.right}"
    yield f"{one.far}"
    yield f"{one.far_right}"


def _cells(one: Apart) -> Iterator[str]:
    yield one.name
    yield f"{one.configurations}"
    yield f"{one.pairs}"
    yield f"{one.mean:.1%}"
    yield f"{one.median:.1%}"
    yield f"{one.most:.1%}"


def serving_data(scores: Sequence[ServingScore]) -> dict[str, Any]:
    """The same for a machine, with every figure."""
    alike = {
        (metric, calibrated): intervals(
            [s for s in scores if s.metric == metric and s.calibrated == calibrated]
        )
        for metric in METRICS
        for calibrated in (True, False)
    }
    return {
        "families": [asdict(family) for family in serving_targets(scores)],
        "kinds": [asdict(family) for family in serving_families(scores)],
        "repeats": [asdict(one) for one in apart()],
        "orders": [asdict(one) for one in orders(scores)],
        "results": [
            {
                "id": score.result.id,
                "model": score.result.model,
                "chip": score.result.chip,
                "metric": score.metric,
                "calibrated": score.calibrated,
                "published": score.published,
                "predicted": round(score.predicted, 6),
                "error": round(score.error, 4),
                "interval": round(
                    exp(nearest(alike[score.metric, score.calibrated], score.kind)[0]) - 1, 4
                ),
                "split": score.split,
            }
            for score in scores
        ],
    }


def serving_plot(scores: Sequence[ServingScore]) -> str:
    """Predicted against published, calibrated, one square for each metric, as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>',
    ]
    for place, metric in enumerate(METRICS):
        own = [s for s in scores if s.metric == metric and s.calibrated]
        parts += _square(metric, own, place * WIDE / len(METRICS))
    parts += _legend()
    return "\n".join([*parts, "</svg>\n"])


def _square(metric: str, scores: Sequence[ServingScore], left: float) -> Iterator[str]:
    low, high = SPANS[metric]
    size = WIDE / len(METRICS) - EDGE
    bottom = HIGH - EDGE

    def at(power: float) -> float:
        return round((power - low) / (high - low) * size, 1)

    for power in range(6):
        if not low <= power <= high:
            continue
        x, y = left + EDGE + at(power), bottom - at(power)
        yield f'<path d="M{x:.1f} {bottom}v-{size:.0f}M{left + EDGE:.1f} {y:.1f}h{size:.0f}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{10**power:,}</text>'
    start = left + EDGE
    yield f'<path d="M{start:.1f} {bottom}l{size:.1f} -{size:.1f}" stroke="#888"/>'
    unit = "tokens/s" if metric == "throughput" else "ms"
    middle = start + size / 2
    yield f'<text x="{middle:.1f}" y="{HIGH - 22}" text-anchor="middle">{metric}, {unit}, published</text>'
    scale = 1.0 if metric == "throughput" else 1e3
    for score in scores:
        x = start + at(log10(score.published * scale))
        y = bottom - at(log10(score.predicted * scale))
        yield _dot(score, x, y)


def _dot(score: ServingScore, x: float, y: float) -> str:
    colour = COLOURS.get(score.kind.generation, "#777")
    fill = "none" if score.kind.model == "mixture" else colour
    what = f"{score.result.model} on {score.result.chip}, {score.result.stack}"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{fill}" stroke="{colour}">'
        f"<title>{escape(what)}: {score.published:.4g}, {score.predicted:.4g} predicted</title></circle>"
    )


def _legend() -> Iterator[str]:
    for place, (name, colour) in enumerate(COLOURS.items()):
        x = EDGE + 120 * place
        yield f'<circle cx="{x}" cy="{HIGH - 8}" r="4" fill="{colour}"/>'
        yield f'<text x="{x + 8}" y="{HIGH - 4}">{name}</text>'
    yield f'<text x="{EDGE + 480}" y="{HIGH - 4}">rings: mixtures; predicted without its group</text>'
