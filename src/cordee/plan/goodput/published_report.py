"""Published long runs beside predictions: a table in Markdown, and for a machine."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from cordee.plan.goodput.published import ABSOLUTE, Beside


def markdown(found: Sequence[Beside]) -> str:
    """The table and what it comes to."""
    return "\n".join([*_table(found), "", *closing(found)])


def _table(found: Sequence[Beside]) -> Iterator[str]:
    yield "| | published | formula | simulated | error | assumed | with half and twice of it |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        run = one.run
        recalled = " (recalled)" if run.checked == "recalled" else ""
        simulated = "" if one.simulated is None else _shown(one.simulated, run.quantity)
        around = ""
        if one.most > one.least:
            around = f"{_shown(one.least, run.quantity)} to {_shown(one.most, run.quantity)}"
        yield (
            f"| {run.name}{recalled} | {_published(one)} | {_shown(one.predicted, run.quantity)} | {simulated} "
            f"| {_error(one)} | {', '.join(_words(run.assumed))} | {around} |"
        )


def closing(found: Sequence[Beside]) -> Iterator[str]:
    """What they come to."""
    goodput = [one for one in found if one.run.quantity == "goodput"]
    counts = [
        one for one in found if one.run.quantity in ("hours", "failures") and not one.run.known
    ]
    yield (
        f"Time that counts: {len(goodput)} runs, off by {fmean(abs(o.error) for o in goodput) * 100:.1f} points on "
        f"average, {max(abs(o.error) for o in goodput) * 100:.1f} at most; where a publication gives a bound, no error "
        "is counted within it. Times that a publication leaves out are assumed, so this shows that the formulas are "
        "consistent with what was published, not more."
    )
    yield (
        f"Number of failures, by the rate of another run: {len(counts)} runs, off by "
        f"{min(abs(o.error) for o in counts):.0%} to {max(abs(o.error) for o in counts):.0%}: a rate is no constant of "
        "a chip, so give your own."
    )


def as_data(found: Sequence[Beside]) -> list[dict[str, Any]]:
    """The same for a machine."""
    return [asdict(one) | {"error": one.error} for one in found]


def _words(names: Sequence[str]) -> Iterator[str]:
    known = {
        "notice_s": "time to notice",
        "resume_s": "time to restart",
        "every_s": "interval",
        "write_s": "time to keep",
    }
    for name in names:
        yield known.get(name, name)


def _published(one: Beside) -> str:
    run = one.run
    low, high = _shown(run.low, run.quantity), _shown(run.high, run.quantity)
    if run.low == run.high:
        return low
    return f"{low} or more" if run.quantity == "goodput" and run.high == 1 else f"{low} to {high}"


def _shown(value: float, quantity: str) -> str:
    if quantity in ABSOLUTE:
        return f"{value:.1%}"
    return f"{value:.3g} h" if quantity == "hours" else f"{value:.3g}"


def _error(one: Beside) -> str:
    if one.run.known:
        return "was an input"
    if not one.error:
        return "within"
    return f"{one.error * 100:+.1f} points" if one.run.quantity in ABSOLUTE else f"{one.error:+.0%}"
