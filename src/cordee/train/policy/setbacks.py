"""How often a job has been thrown back: what ends one that gets no further."""

from dataclasses import dataclass, field

from cordee.train.policy.workers import Limits


@dataclass(slots=True)
class Setbacks:
    """Those of a job."""

    deaths: dict[int, int] = field(default_factory=dict)
    """At each step, how many workers failed by themselves."""
    restarts: int = 0
    """How often in a row the job began again."""
    farthest: int = -1
    """The step at which all members were gone."""

    def crashed(self, step: int, limits: Limits) -> str:
        """A worker's own code has failed; gives what to say where that was once too often."""
        count = self.deaths[step] = self.deaths.get(step, 0) + 1
        if count < min(limits.deaths_at_step, limits.workers):
            return ""
        return f"at step {step} {'the worker' if count == 1 else f'{count} workers'} failed"

    def restarts_from(self, step: int, limits: Limits) -> bool:
        """No member is left; gives whether the job begins again."""
        self.restarts = 1 if step > self.farthest else self.restarts + 1
        self.farthest = max(self.farthest, step)
        return self.restarts <= limits.restarts
