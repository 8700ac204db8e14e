"""A move as one page: what was compared, how each step went, and where answers differed."""

import datetime
import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cordee.core.pages import environment
from cordee.serve.move.comparison import Comparison
from cordee.serve.move.mover import Mover

SHOWN = 60
BINS = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, math.inf)


def page(mover: Mover) -> str:
    """The report as HTML that needs no network."""
    template = environment("cordee.serve.move").get_template("report.html")
    state = mover.state()
    found = mover.comparisons
    return template.render(
        state=state,
        verdict=_verdict(mover),
        steps=[_step(step) for step in state["steps"]],
        agreed=sum(c.agrees for c in found),
        exact=sum(c.exact for c in found),
        compared=len(found),
        refused=sum(c.refusal is not None for c in found),
        bars=_bars([c.distance for c in found if c.distance is not None]),
        times=_times(found),
        differences=[c for c in found if not c.exact][:SHOWN],
        limits=mover.limits,
        when=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    )


def _verdict(mover: Mover) -> tuple[str, str]:
    if mover.phase == "done":
        return "ok", f"all traffic is on {mover.new.name}"
    if mover.phase == "rolled-back":
        return "bad", f"rolled back to {mover.old.name}"
    return "waiting", f"under way: {mover.phase}"


def _step(step: dict[str, Any]) -> dict[str, Any]:
    ended = step["ended_s"]
    return {
        **step,
        "name": f"{step['step']['phase']} {step['step']['share']:.0%}",
        "took": f"{ended - step['began_s']:.1f} s" if ended else "under way",
    }


def _bars(distances: Sequence[float]) -> list[tuple[str, int, float]]:
    """How many answers part at which distance: label, count, share of the largest."""
    counts = [sum(low <= d < high for d in distances) for low, high in pairwise(BINS)]
    most = max([*counts, 1])
    labels = [f"from {low:g}" for low in BINS[:-1]]
    return [(label, n, n / most) for label, n in zip(labels, counts, strict=True)]


def _times(found: Sequence[Comparison]) -> tuple[float, float] | None:
    """The medians of how long both pools took for the same requests."""
    pairs = [c.whole_s for c in found if c.refusal is None]
    if not pairs:
        return None
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)
