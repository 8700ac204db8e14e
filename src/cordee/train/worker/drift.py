"""How far a step of its own would take a worker from the others: measured, now and then, by making one and taking it back."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cordee.train.policy.rounds import Stray, steps_apart
from cordee.train.wire import Strays
from cordee.train.worker.apart import Apart
from cordee.train.worker.control import Control
from cordee.train.worker.outer import part_bytes
from cordee.train.worker.undo import copied, put_back

EVERY = 20
"""Steps from one measurement to the next: it costs a step of the optimizer, and copies of its state."""


class Drift:
    """That of one worker, as long as steps are made together."""

    def __init__(self, apart: Apart) -> None:
        self._apart = apart
        self._own: list[Tensor] = []
        """The parameters after a step of its own, fragment by fragment."""

    @property
    def due(self) -> bool:
        """Whether it is measured in the step at hand: not before the warm-up is over."""
        apart = self._apart
        past = apart.step - apart.outer.cadence.warmup
        on_host = apart.layout.parts[0].device.type == "cpu"
        return on_host and apart.waits and apart.together and past >= 0 and past % EVERY == 0

    def tries(self, own: Sequence[Tensor]) -> None:
        """Make a step with the gradient of this worker's shards, and take it back."""
        trained = self._apart.trained
        before = copied(trained, self._apart.step)
        self._apart.tries(own)
        self._own = self._here()
        put_back(trained, before)

    def tell(self, control: Control) -> None:
        """The step is made with the gradient of all: say how far apart that is, where it was tried."""
        if not self._own:
            return
        outer = self._apart.outer
        drift = max(map(_distance, self._own, self._here()))
        self._own = []
        size_bytes = sum(part_bytes(part.numel()) for part in self._here())
        gradient_bytes = sum(p.numbers * p.dtype.itemsize for p in self._apart.layout.parts)
        stray = Stray(steps_apart(outer.cadence, drift), size_bytes, gradient_bytes)
        control.say(Strays(stray, drift))

    def _here(self) -> list[Tensor]:
        """Copies of the parameters, fragment by fragment."""
        return list(map(self._apart.outer.here, range(self._apart.outer.cadence.fragments)))


def _distance(one: Tensor, other: Tensor) -> float:
    """As a share of its length."""
    length = float(torch.linalg.vector_norm(other))
    return float(torch.linalg.vector_norm(one - other)) / length if length else 0.0
