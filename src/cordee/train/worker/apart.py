"""A model whose worker makes steps of its own: how far it is counts both in steps and in what was agreed on."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cordee.train.policy.rounds import Cadence
from cordee.train.worker.advance import Advance
from cordee.train.worker.gradients import Layout
from cordee.train.worker.job import Mode
from cordee.train.worker.outer import Outer
from cordee.train.worker.state import Trained, Value


class Apart(Advance):
    """`step` counts what all members have committed: first steps, then rounds. `made` counts the program's steps."""

    def __init__(
        self,
        trained: Trained,
        layout: Layout,
        clip: float | None,
        cadence: Cadence,
        mode: Mode,
    ) -> None:
        kept: dict[str, Tensor] = {}
        self.outer = Outer(layout.parameters, cadence, kept)
        with_outer = Trained(trained.model, trained.optimizer, (*trained.others, self.outer), kept)
        super().__init__(with_outer, layout, clip)
        self.waits = mode == "adaptive"
        """Whether steps are made together until the coordinator says otherwise."""
        self.skipped = 0
        """Steps of its own that were left out."""
        self.fresh = False
        """Whether this worker has the shared state, but has not begun from it yet."""

    @property
    def made(self) -> int:
        return self.outer.made if self.outer.on else self.step

    @property
    def together(self) -> bool:
        """Whether the next step is one that all members make together."""
        return not self.outer.on and (self.waits or self.step < self.outer.cadence.warmup)

    def over(self, count: int) -> bool:
        """Whether, after so many steps, all workers have the same parameters."""
        if self.outer.on:
            return self.outer.closed
        return self.waits or count <= self.outer.cadence.warmup

    def begin(self, steps: int = 0) -> None:
        """Workers go their own ways, if they do not yet; `steps`: between two exchanges, if not as the program says."""
        cadence = self.outer.cadence
        if not self.outer.on:
            self.outer.begin(self.step, max(steps, cadence.least) if steps else cadence.steps)

    def own(self, gradient: Sequence[Tensor]) -> None:
        """Make a step that no other worker makes; it is left out where its gradient is not finite."""
        committed = self.step
        if math.isfinite(float(self.layout.norm(gradient))):
            self.make(gradient)
        else:
            self.skip()
            self.skipped += 1
        self.step = committed
        self.outer.made += 1

    def filled(self, step: int) -> None:
        super().filled(step)
        self.fresh = self.outer.on

    def fed(
        self, data: Sequence[bytearray | memoryview], groups: Sequence[dict[str, Value]]
    ) -> None:
        if self.together:
            super().fed(data, groups)
            return
        self.begin()
        self.outer.merge([torch.frombuffer(part, dtype=torch.uint8) for part in data])
        self.step += 1
        self.fresh = True

    def start_from_agreed(self) -> None:
        """A newcomer's first own step starts from what was agreed on, as late as the others are."""
        begun = self.step > self.outer.first
        behind = max(0, self.outer.due - self.outer.made) if begun else 0
        self.outer.settle()
        self.outer.made += behind
        for scheduler in self.trained.others:
            if hasattr(scheduler, "step"):
                for _ in range(behind):
                    scheduler.step()
        self.fresh = False


def advance_of(
    trained: Trained, layout: Layout, clip: float | None, mode: Mode, cadence: Cadence | None
) -> Advance:
    """What makes the steps; `cadence`: where workers train by themselves."""
    if mode in ("local", "adaptive"):
        return Apart(trained, layout, clip, cadence or Cadence(), mode)
    return Advance(trained, layout, clip)
