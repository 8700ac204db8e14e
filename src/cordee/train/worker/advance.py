"""How far the model of a worker is, and the way from one step to the next."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cordee.train.policy.sums import Total
from cordee.train.worker.feed import fill
from cordee.train.worker.gradients import Layout
from cordee.train.worker.state import Trained, Value, apply_settings, settings


class Advance:
    """A model with its optimizer, at a step."""

    def __init__(self, trained: Trained, layout: Layout, clip: float | None) -> None:
        self.trained, self.layout = trained, layout
        self.step, self.loss = 0, float("nan")
        self.used: list[dict[str, Value]] = []
        """The settings with which the last step was made: a scheduler may have changed them since."""
        self._clip = clip

    @property
    def made(self) -> int:
        """How many steps of the program are made."""
        return self.step

    def filled(self, step: int) -> None:
        """The state of a step was put into the model and its optimizer."""
        self.step = step

    def fed(
        self, data: Sequence[bytearray | memoryview], groups: Sequence[dict[str, Value]]
    ) -> None:
        """What the others made their next step with has come, as bytes."""
        buffers = self.layout.buffers()
        cut = [b[: len(d) // b.element_size()] for b, d in zip(buffers, data, strict=True)]
        fill(cut, data)
        self.again(cut, groups)

    def make(self, gradient: Sequence[Tensor], total: Total | None = None) -> None:
        """Make a step with a gradient, which is clipped in place. `total`: of the whole, where this is a part."""
        self._shorten(gradient, total)
        self._with(gradient)
        if total is not None and total.loss is not None:
            self.loss = total.loss

    def tries(self, gradient: Sequence[Tensor]) -> None:
        """Change the parameters as a step with a gradient would; the step is not made."""
        self._shorten(gradient)
        self._optimize(gradient)

    def skip(self) -> None:
        """Go on to the next step without this one's gradient."""
        self._end()

    def again(self, gradient: Sequence[Tensor], groups: Sequence[dict[str, Value]]) -> None:
        """Make the step that others made with this gradient, clipped already, and these settings."""
        apply_settings(self.trained, groups)
        self._with(gradient)

    def _shorten(self, gradient: Sequence[Tensor], total: Total | None = None) -> None:
        if self._clip is not None:
            norm = self.layout.norm(gradient)
            if total is not None and total.norm is not None:
                norm = torch.tensor(total.norm, device=norm.device)
            scale = self._clip / (norm + 1e-6)
            self.layout.scale(gradient, scale.clamp(max=1.0))

    def _with(self, gradient: Sequence[Tensor]) -> None:
        self.loss = self.layout.loss(gradient)
        self.used = settings(self.trained)
        self._optimize(gradient)
        self._end()

    def _optimize(self, gradient: Sequence[Tensor]) -> None:
        self.layout.attach(gradient)
        self.trained.optimizer.step()
        self.layout.detach()

    def _end(self) -> None:
        for scheduler in self.trained.others:
            if hasattr(scheduler, "step"):
                scheduler.step()
        self.step += 1
