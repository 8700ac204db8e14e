"""Whether a move of traffic goes on, waits or is undone: gates on errors, latency and agreement.

Shares are judged by Wilson's score interval (Wilson, JASA 1927): a gate is broken only where chance would hardly
make it look so, and holds only after enough has been seen.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Z = 1.96
"""For intervals that hold the truth in 95 of 100 cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much worse the new pool may be."""

    more_errors: float = 0.005
    """Share of failed requests above that of the old pool."""
    ttft_factor: float = 2.0
    tpot_factor: float = 2.0
    """Medians of the new pool over those of the old."""
    agreement: float = 0.95
    """Share of compared answers that agree."""
    samples: int = 30
    """Requests of the new pool, and comparisons, before a step is taken."""


@dataclass(slots=True)
class Tally:
    """What was seen of one pool."""

    requests: int = 0
    errors: int = 0
    ttft_s: list[float] = field(default_factory=list)
    tpot_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Agreement:
    """How the answers of two pools compare."""

    compared: int = 0
    agreed: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition; `holds` is None while too little is known."""

    name: str
    value: float | None
    limit: float
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a move."""

    phase: Literal["shadow", "canary", "primary"]
    share: float


STEPS = (
    Step("shadow", 0.0),
    Step("canary", 0.01),
    Step("canary", 0.05),
    Step("canary", 0.25),
    Step("canary", 0.5),
    Step("canary", 1.0),
    Step("primary", 1.0),
)


def interval(hits: int, of: int) -> tuple[float, float]:
    """Between what the true share lies, most likely."""
    if of == 0:
        return 0.0, 1.0
    share, z2 = hits / of, Z * Z / of
    middle = (share + z2 / 2) / (1 + z2)
    half = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def gates(old: Tally, new: Tally, agreement: Agreement, limits: Limits, phase: str) -> list[Gate]:
    """All gates of a phase. A shadow answers copies, so its errors and times are judged there too."""
    made = [_errors(old, new, limits)]
    for name, ours, theirs, factor in (
        ("first token", new.ttft_s, old.ttft_s, limits.ttft_factor),
        ("per token", new.tpot_s, old.tpot_s, limits.tpot_factor),
    ):
        made.append(_ratio(name, ours, theirs, factor, limits.samples))
    if phase != "primary":
        made.append(_agreement(agreement, limits))
    return made


def decide(found: Sequence[Gate]) -> Literal["back", "stay", "on"]:
    """Back where a gate is broken, on where all hold."""
    if any(gate.holds is False for gate in found):
        return "back"
    return "on" if all(gate.holds for gate in found) else "stay"


def _errors(old: Tally, new: Tally, limits: Limits) -> Gate:
    limit = (old.errors / old.requests if old.requests else 0.0) + limits.more_errors
    if not new.requests:
        return Gate("errors", None, limit, None)
    value = new.errors / new.requests
    low, _ = interval(new.errors, new.requests)
    holds: bool | None = None
    if low > limit:
        holds = False
    elif new.requests >= limits.samples and value <= limit:
        holds = True
    return Gate("errors", value, limit, holds)


def _ratio(
    name: str, new: Sequence[float], old: Sequence[float], factor: float, samples: int
) -> Gate:
    if not new or not old:
        return Gate(name, None, factor, None)
    value = statistics.median(new) / max(1e-9, statistics.median(old))
    enough = len(new) >= samples and len(old) >= min(samples, 10)
    return Gate(name, value, factor, value <= factor if enough else None)


def _agreement(seen: Agreement, limits: Limits) -> Gate:
    if not seen.compared:
        return Gate("agreement", None, limits.agreement, None)
    value = seen.agreed / seen.compared
    _, high = interval(seen.agreed, seen.compared)
    holds: bool | None = None
    if high < limits.agreement:
        holds = False
    elif seen.compared >= limits.samples and value >= limits.agreement:
        holds = True
    return Gate("agreement", value, limits.agreement, holds)
