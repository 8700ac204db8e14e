"""Whether a replica is gone, and what becomes of a request that was there."""

from dataclasses import dataclass
from typing import Literal

PROBE_S = 0.2
"""How often a replica is asked how it is."""
SILENT_S = 0.7
"""A replica that answers neither probes nor sends tokens for so long hangs..."""
SLOW_ANSWERS = 4.0
"""...unless its answers take long, as on a machine with too much to do: so many of the longest of late..."""
SLOW_SILENT_S = 5.0
"""...but no longer than this."""
OTHERS_SILENT_S = 5.0
"""The same of an engine of others, whose answers wait for one another."""
STUCK_S = 1.5
"""One that answers probes, has work and makes no step for so long hangs too..."""
STUCK_STEPS = 6.0
"""...unless its steps take long: so many of the longest of late..."""
FIRST_STEPS = 8
"""...or it is new. Its first steps load and compile what later ones find..."""
FIRST_STUCK_S = 10.0
"""...and may take so long."""
PATIENCE_S = 60.0
"""So long a request waits for a replica when none is ready, where nothing else is said."""
FAILURES_MOST = 6
"""A request that has so much blame, without a token between, is given up."""


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


def hangs(signs: Signs, silent_s: float = SILENT_S) -> str | None:
    """Why a replica must be taken to hang; None while it may be well."""
    slow_s = min(SLOW_ANSWERS * signs.longest_answer_s, SLOW_SILENT_S)
    if signs.answered_s > max(silent_s, slow_s):
        return f"silent for {signs.answered_s:.1f} s"
    stuck_s = FIRST_STUCK_S if signs.steps < FIRST_STEPS else STUCK_S
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
