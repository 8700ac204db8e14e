"""Gradients of a model in flat buffers, into which the backward pass writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cordee.core.errors import UsageError
from cordee.train.worker.spread import like, part_of, share


@dataclass(frozen=True, slots=True)
class Part:
    """Parameters of one type, one after another in a flat buffer; the last number is the loss."""

    dtype: torch.dtype
    device: torch.device
    parameters: tuple[nn.Parameter, ...]
    numbers: int


class Place(NamedTuple):
    """Where the numbers of a parameter lie in a part."""

    part: int
    first: int
    end: int


class Layout:
    """Where the gradient of each parameter lies."""

    def __init__(self, parameters: Sequence[nn.Parameter], room: int, copies: int = 1) -> None:
        """`room`: numbers at the end of each buffer that are free, so that it can be cut evenly.

        `copies`: so many workers of a replica have what is not spread over them.
        """
        self._copies = copies
        self.parameters = [p for p in parameters if p.requires_grad]
        self._room, self._passes = room, 0
        self._fresh: Sequence[Tensor] | None = None
        self._views: list[Tensor] = []
        device = self.parameters[0].device if self.parameters else torch.device("cpu")
        kinds = dict.fromkeys([torch.float32, *(p.dtype for p in self.parameters)])
        self.parts = [self._part(dtype, device) for dtype in kinds]
        self.places = self._places()

    def _part(self, dtype: torch.dtype, device: torch.device) -> Part:
        mine = tuple(p for p in self.parameters if p.dtype == dtype)
        numbers = sum(part_of(p).numel() for p in mine) + (dtype == torch.float32)
        return Part(dtype, device, mine, numbers)

    def _places(self) -> list[Place]:
        found, ends = [], [0] * len(self.parts)
        parts = {part.dtype: number for number, part in enumerate(self.parts)}
        for parameter in self.parameters:
            part = parts[parameter.dtype]
            first, ends[part] = ends[part], ends[part] + part_of(parameter).numel()
            found.append(Place(part, first, ends[part]))
        return found

    def buffers(self) -> list[Tensor]:
        """New ones, of zeros."""
        return [
            torch.zeros(part.numbers + self._room, dtype=part.dtype, device=part.device)
            for part in self.parts
        ]

    def attach(self, buffers: Sequence[Tensor]) -> None:
        """Let the backward pass add into these."""
        self._passes, self._fresh = 0, None
        for parameter, view in zip(self.parameters, self._views_of(buffers), strict=True):
            parameter.grad = view

    def await_into(self, buffers: Sequence[Tensor]) -> None:
        """What the next backward pass makes is put into these instead of what they have.

        On the host that takes half the time of adding to zeros, which passes over memory five times.
        """
        self.detach()
        self._passes, self._fresh, self._views = 0, buffers, self._views_of(buffers)

    @property
    def awaits(self) -> bool:
        """Whether something is awaited."""
        return self._fresh is not None

    def collect(self, which: Sequence[int] | None = None) -> None:
        """What was awaited is there; `which`: of these parameters, by their numbers."""
        if self._fresh is None:
            return
        views, grads = [], []
        for number in which if which is not None else range(len(self.parameters)):
            parameter, view = self.parameters[number], self._views[number]
            grad, parameter.grad = parameter.grad, view
            if grad is None:
                view.zero_()
            elif grad.layout != torch.strided:
                view.zero_().add_(grad)
            elif grad is not view:
                views.append(view)
                grads.append(grad)
        if views:
            torch._foreach_copy_(views, grads)
        if which is None:
            self._fresh[0][self.parts[0].numbers - 1] = 0.0  # the loss
            self._fresh, self._views = None, []

    def detach(self) -> None:
        """Parameters have no gradients any more."""
        for parameter in self.parameters:
            parameter.grad = None

    def add_loss(self, buffers: Sequence[Tensor], loss: Tensor) -> None:
        """Keep the loss of a shard beside its gradient: it is summed as that is.

        Raises `UsageError` where it is the second one: what a shard adds up must not depend on who computes it.
        """
        self.collect()
        self._passes += 1
        if self._passes > 1:
            raise UsageError("step.backward was called twice for one shard: make more shards")
        at = self.parts[0].numbers - 1
        buffers[0][at] += loss.detach().to(torch.float32)

    def loss(self, buffers: Sequence[Tensor]) -> float:
        return float(buffers[0][self.parts[0].numbers - 1])

    def scale(self, buffers: Sequence[Tensor], factor: Tensor) -> None:
        """Gradients, but not the loss beside them."""
        for number, (part, buffer) in enumerate(zip(self.parts, buffers, strict=True)):
            buffer[: part.numbers - (number == 0)].mul_(factor.to(buffer.dtype))

    def square(self, buffers: Sequence[Tensor]) -> float:
        """The sum of squares of what this worker counts, so that a replica counts each number once."""
        found = 0.0
        for part, buffer in zip(self.parts, buffers, strict=True):
            at = 0
            for parameter in part.parameters:
                size = part_of(parameter).numel()
                norm = torch.linalg.vector_norm(buffer[at : at + size], dtype=torch.float32)
                found += float(norm) ** 2 * share(parameter, self._copies)
                at += size
        return found

    def norm(self, buffers: Sequence[Tensor]) -> Tensor:
        """[] of the whole gradient, in float32."""
        found = [
            torch.linalg.vector_norm(buffer[: part.numbers - (number == 0)], dtype=torch.float32)
            for number, (part, buffer) in enumerate(zip(self.parts, buffers, strict=True))
            if part.parameters
        ]
        whole: Tensor = torch.linalg.vector_norm(torch.stack(found))
        return whole

    def _views_of(self, buffers: Sequence[Tensor]) -> list[Tensor]:
        """The part of each parameter."""
        return [
            like(buffers[part][first:end].view(part_of(parameter).shape), parameter)
            for parameter, (part, first, end) in zip(self.parameters, self.places, strict=True)
        ]
