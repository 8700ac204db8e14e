"""A move under way: shadow, then a growing share, then all; back at once where a gate is broken."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.serve.gateway.fleet import Answered, Fleet, Pool
from cordee.serve.gateway.record import Record
from cordee.serve.move.comparison import Comparison
from cordee.serve.move.shadow import Heard, Shadow
from cordee.serve.policy.canary import STEPS, Agreement, Limits, Step, Tally, decide, gates

COMPARISONS_KEPT = 2000
RECENT = 1000


@dataclass(slots=True)
class Passed:
    """A step that was taken, and what was seen in it."""

    step: Step
    began_s: float
    ended_s: float = 0.0
    gates: list[dict[str, Any]] = field(default_factory=list)
    requests: tuple[int, int] = (0, 0)
    compared: int = 0
    agreed: int = 0
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """From where to where, and under which conditions."""

    old: Pool
    new: Pool
    limits: Limits = field(default_factory=Limits)
    steps: Sequence[Step] = STEPS
    compare_share: float = 1.0
    """Of the requests, so many are asked again on the other pool."""


class Mover:
    """Moves traffic from one pool to another."""

    def __init__(
        self,
        fleet: Fleet,
        plan: Plan,
        differences: Path,
        tell: Callable[[str, str, str], object],
    ) -> None:
        if plan.old is plan.new:
            raise UsageError("a move needs two pools")
        self.old, self.new, self.limits, self.steps = plan.old, plan.new, plan.limits, plan.steps
        self.passed: list[Passed] = []
        self.comparisons: list[Comparison] = []
        self.phase = "shadow"
        self._tell = tell
        self._at = -1
        self._old = Tally()
        self.shadow = Shadow(fleet, self._other, self._heard, differences, plan.compare_share)
        self._next()

    @property
    def over(self) -> bool:
        return self.phase in ("done", "rolled-back")

    def finished(self, record: Record) -> None:
        """A client's request is over: it counts for the pool that answered it."""
        tally = {self.old.name: self._old, self.new.name: self._new}.get(record.pool)
        if tally is None or self.over:
            return
        tokens = len(record.lines[0].ids)
        whole_s = time.monotonic() - record.began_s
        _count(tally, record.error, record.first_s or whole_s, whole_s, tokens)

    def tick(self) -> None:
        """See whether to go on, stay or go back."""
        if self.over:
            return
        found = gates(self._old, self._new, self._agreement, self.limits, self.phase)
        now = self.passed[-1]
        now.gates = [asdict(gate) for gate in found]
        now.requests = (self._old.requests, self._new.requests)
        now.compared, now.agreed = self._agreement.compared, self._agreement.agreed
        verdict = decide(found)
        if self.phase == "primary" and verdict != "back":
            verdict = "on"
        if verdict == "stay":
            return
        now.ended_s, now.verdict = time.time(), verdict
        if verdict == "back":
            broken = ", ".join(gate.name for gate in found if gate.holds is False)
            self.roll_back(f"broken: {broken}")
        else:
            self._next()

    def roll_back(self, why: str) -> None:
        """All traffic to the old pool."""
        self.phase = "rolled-back"
        self.passed[-1].verdict = self.passed[-1].verdict or "back"
        self.passed[-1].ended_s = self.passed[-1].ended_s or time.time()
        self.old.role, self.old.share = "primary", 1.0
        self.new.role, self.new.share = "shadow", 0.0
        self._tell("move", self.new.name, f"rolled back to {self.old.name}: {why}")

    def state(self) -> dict[str, Any]:
        """What the page and the terminal show."""
        now = self.passed[-1]
        return {
            "from": self.old.name,
            "to": self.new.name,
            "phase": self.phase,
            "share": 1.0 if self.phase == "done" else self.new.share,
            "gates": [{**gate, "value": _short(gate["value"])} for gate in now.gates],
            "compared": sum(p.compared for p in self.passed),
            "agreed": sum(p.agreed for p in self.passed),
            "steps": [asdict(p) for p in self.passed],
        }

    def _next(self) -> None:
        self._at += 1
        # The old pool is compared with as it was, when it has no traffic any more.
        self._new, self._agreement = Tally(), Agreement()
        if self._at == len(self.steps):
            self.phase = "done"
            self._tell("move", self.new.name, f"has all traffic of {self.old.name} now")
            return
        step = self.steps[self._at]
        self.phase = step.phase
        self.passed.append(Passed(step, time.time()))
        if step.phase == "shadow":
            self.new.role, self.new.share = "shadow", 0.0
            self.old.role, self.old.share = "primary", 1.0
        elif step.phase == "canary":
            self.new.role, self.new.share = "canary", step.share
            self.old.share = 1.0 - step.share
        else:
            self.new.role, self.new.share = "primary", 1.0
            self.old.role, self.old.share = "standby", 0.0
        self._tell("move", self.new.name, f"{step.phase}, {step.share:.0%} of the traffic")

    def _other(self, pool: str) -> str | None:
        if self.over:
            return None
        return {self.old.name: self.new.name, self.new.name: self.old.name}.get(pool)

    def _heard(self, pool: str, heard: Heard, answer: Answered, found: Comparison) -> None:
        if self.over:
            return
        self._agreement.compared += 1
        self._agreement.agreed += found.agrees
        if len(self.comparisons) < COMPARISONS_KEPT:
            self.comparisons.append(found)
        if self.phase == "shadow" and pool == self.new.name:
            _count(self._new, heard.error, heard.first_s, heard.whole_s, len(heard.ids))


def _count(tally: Tally, error: str | None, first_s: float, whole_s: float, tokens: int) -> None:
    tally.requests += 1
    if error is not None:
        tally.errors += 1
        return
    tally.ttft_s.append(first_s)
    if tokens > 1:
        tally.tpot_s.append((whole_s - first_s) / (tokens - 1))
    del tally.ttft_s[:-RECENT], tally.tpot_s[:-RECENT]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
