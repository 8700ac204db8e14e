"""The errors of a validation as a table, as data, and as a plot of predicted against published."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from math import exp, log10
from typing import Any

from rich.console import Group

from cordee.core.tables import figures
from cordee.plan.calibration.widths import nearest
from cordee.plan.validation.peers import peers
from cordee.plan.validation.scoring import (
    Family,
    Score,
    families,
    intervals,
    ranked,
    targets,
)

COLOURS = {
    "ampere": "#4c78a8",
    "hopper": "#59a14f",
    "blackwell": "#b07aa1",
    "ascend-910b": "#e15759",
}
SIZE, EDGE = 560, 56
NUMBERS = ("results", "groups", "mean error", "median", "bias", "in interval")


def tables(scores: Sequence[Score]) -> tuple[Group, Group]:
    """Larger families beside the others' figures, and each chip with each software."""
    return errors_of("family", targets(scores)), errors_of(
        "chip, software, models", families(scores)
    )


def errors_of(title: str, found: Sequence[Family]) -> Group:
    """One line for each family; below them, what others have on the same results."""
    shown = figures(title, NUMBERS)
    for family in found:
        shown.add_row(*_cells(family))
    quoted = [f" {family.name}: {_others(family)}" for family in found if _others(family)]
    return Group(shown, *([" others on the same results", *quoted] if quoted else []))


def _cells(family: Family) -> Iterator[str]:
    yield family.name
    yield f"{family.results}"
    yield f"{family.groups}"
    yield f"{family.mean_error:.1%}"
    yield f"{family.median_error:.1%}"
    yield f"{family.bias:+.1%}"
    yield f"{family.covered:.0%}"


def _others(family: Family) -> str:
    quoted = (peer for peer in peers() if peer.family == family.name)
    return ", ".join(f"{peer.peer} {peer.mean_error:.1%}" for peer in quoted)


def closing(scores: Sequence[Score]) -> str:
    """What holds beside errors: how often layouts are in the right order."""
    right, pairs = ranked(scores)
    return (
        f"of {pairs} pairs of layouts of one model in one publication, "
        f"{right} ({right / pairs:.0%}) are in the right order"
    )


def markdown(scores: Sequence[Score]) -> str:
    """The same as a page."""
    lines = [
        *lines_of("family", targets(scores)),
        *lines_of("chip, software, models", families(scores)),
    ]
    return "\n".join([*lines, closing(scores).capitalize() + "."])


def lines_of(title: str, found: Sequence[Family]) -> Iterator[str]:
    """A table of a page."""
    names = (title, *NUMBERS, "others")
    yield "| " + " | ".join(names) + " |"
    yield "|---" * len(names) + "|"
    yield from ("| " + " | ".join((*_cells(family), _others(family))) + " |" for family in found)
    yield ""


def as_data(scores: Sequence[Score]) -> dict[str, Any]:
    """The same for a machine, with every result."""
    found = intervals(scores)
    return {
        "families": [asdict(family) for family in targets(scores)],
        "kinds": [asdict(family) for family in families(scores)],
        "pairs_in_order": dict(zip(("right", "pairs"), ranked(scores), strict=True)),
        "results": [
            {
                "id": score.result.id,
                "model": score.result.model,
                "chip": score.result.chip,
                "published": score.result.tokens_per_s_per_chip,
                "predicted": round(score.predicted, 3),
                "error": round(score.error, 4),
                "interval": round(exp(nearest(found, score.kind)[0]) - 1, 4),
                "split": score.split,
            }
            for score in scores
        ],
    }


def plot(scores: Sequence[Score]) -> str:
    """Predicted against published tokens a second of a chip, as SVG."""
    low, high = 1.0, 5.3
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{SIZE}" height="{SIZE}" fill="white"/>',
    ]
    for power in range(1, 6):
        at, up = _place(power, low, high), SIZE - _place(power, low, high)
        parts.append(
            f'<path d="M{at} {EDGE}V{SIZE - EDGE}M{EDGE} {up}H{SIZE - EDGE}" stroke="#ddd"/>'
        )
        parts.append(
            f'<text x="{at}" y="{SIZE - EDGE + 18}" text-anchor="middle">{10**power:,}</text>'
        )
        parts.append(f'<text x="{EDGE - 6}" y="{up + 4}" text-anchor="end">{10**power:,}</text>')
    for ratio, dash in ((1.0, ""), (1.1, "4 4"), (1 / 1.1, "4 4")):
        start, end = _place(low, low, high), _place(high, low, high)
        lift = _place(low + log10(ratio), low, high) - start
        parts.append(
            f'<path d="M{start} {SIZE - start - lift:.1f}L{end} {SIZE - end - lift:.1f}" '
            f'stroke="#888" stroke-dasharray="{dash}"/>'
        )
    parts += [_dot(score, low, high) for score in scores]
    parts += list(_legend())
    return "\n".join([*parts, "</svg>\n"])


def _place(value: float, low: float, high: float) -> float:
    return round(EDGE + (value - low) / (high - low) * (SIZE - 2 * EDGE), 1)


def _dot(score: Score, low: float, high: float) -> str:
    published = score.result.tokens_per_s_per_chip
    x = _place(log10(published), low, high)
    y = round(SIZE - _place(log10(score.predicted), low, high), 1)
    colour = COLOURS.get(score.kind.generation, "#777")
    fill = "none" if score.kind.model == "mixture" else colour
    label = escape(f"{score.result.model} on {score.result.chip}: {published:,.0f} published, ")
    return (
        f'<circle cx="{x}" cy="{y}" r="3" fill="{fill}" stroke="{colour}">'
        f"<title>{label}{score.predicted:,.0f} predicted</title></circle>"
    )


def _legend() -> Iterator[str]:
    for line, (name, colour) in enumerate(COLOURS.items()):
        y = EDGE + 16 * line
        yield f'<circle cx="{EDGE + 10}" cy="{y}" r="4" fill="{colour}"/>'
        yield f'<text x="{EDGE + 20}" y="{y + 4}">{name}</text>'
    yield f'<text x="{EDGE + 6}" y="{EDGE + 70}">rings: mixtures; dashed: 10 % off</text>'
    middle, low = SIZE / 2, SIZE - 14
    yield f'<text x="{middle}" y="{low}" text-anchor="middle">published, tokens/s of a chip</text>'
    yield (
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        "predicted without its group</text>"
    )
