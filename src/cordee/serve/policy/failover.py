"""Whether a replica is gone, and what becomes of a request that was there."""

from dataclasses import dataclass
from typing import Literal

PROBE_S = 0.2
"""How often a replica is asked how it is."""
SLOW_SILENT_S = 5.0
"""One that is silent for so long hangs, however long its answers took of late."""
STUCK_STEPS = 6.0
"""One that makes no step hangs, unless its steps take long: so many of the longest of late..."""
FIRST_STEPS = 8
"""...or it is new. Its first steps load and compile what later ones find."""
PATIENCE_S = 60.0
"""So long a request waits for a replica when none is ready, where nothing else is said."""
FAILURES_MOST = 6
"""A request that has so much blame, without a token between, is given up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a replica is waited for that gives no sign of life, in seconds."""

    silent_s: float
    """It answers neither probes nor sends tokens..."""
    slow_answers: float
    """...unless its answers take long, as on a machine with too much to do: so many of the longest of late."""
    stuck_s: float
    """It answers probes, has work and makes no step."""
    first_stuck_s: float
    """The same in its first steps."""


OWN = Limits(silent_s=0.7, slow_answers=4.0, stuck_s=1.5, first_stuck_s=10.0)
OTHERS = Limits(silent_s=1.0, slow_answers=10.0, stuck_s=10.0, first_stuck_s=60.0)
"""Of engines of others: their answers wait for one another, and what they tell of their steps is a second old."""


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of life of a replica, in seconds since each."""

    answered_s: float
    """Since a probe was answered or a byte came."""
    stepped_s: float
    """Since it is known to have made a step, or had nothing to do."""
    longest_step_s: float
    busy: bool
    longest_answer_s: float = 0.0
    """Of the probes of late."""
    steps: int = FIRST_STEPS
    """That it has made since it began."""


def hangs(signs: Signs, limits: Limits = OWN) -> str | None:
    """Why a replica must be taken to hang; None while it may be well."""
    slow_s = min(limits.slow_answers * signs.longest_answer_s, SLOW_SILENT_S)
    if signs.answered_s > max(limits.silent_s, slow_s):
        return f"silent for {signs.answered_s:.1f} s"
    stuck_s = limits.first_stuck_s if signs.steps < FIRST_STEPS else limits.stuck_s
    if signs.busy and signs.stepped_s > max(stuck_s, STUCK_STEPS * signs.longest_step_s):
        return f"no step for {signs.stepped_s:.1f} s"
    return None


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a request whose replica failed."""

    kind: Literal["elsewhere", "wait", "give-up"]
    reason: str = ""


def blame(running: int) -> float:
    """How much the end of a replica speaks against one of the requests that it worked on."""
    return 1.0 if running <= 1 else 0.5


def after_failure(
    *, others: int, waited_s: float, failures: float, patience_s: float = PATIENCE_S
) -> Next:
    """Go on elsewhere where there is anywhere; wait for a replica for a while; else give up.

    A request that fails wherever it goes is likely to be the reason itself, so failures are counted, in full
    where it was alone there (`blame`).
    """
    if failures >= FAILURES_MOST:
        return Next("give-up", "replicas failed wherever it went")
    if others:
        return Next("elsewhere")
    if waited_s < patience_s:
        return Next("wait")
    return Next("give-up", f"no replica was ready for {waited_s:.0f} s")
