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

    def begin(self, buffers: Sequence[Tensor], *, fresh: bool, waits: bool) -> None:
        """A shard's backward pass is to come, for these. `fresh`: what they have is of no use; `waits`: it may be collected."""
        if fresh and waits:
            self.await_into(buffers)
            return
        if not fresh and self.awaits(buffers):
            self._passes = 0
            return
        self.attach(buffers)
        for buffer in buffers if fresh else ():
            buffer.zero_()

    def attach(self, buffers: Sequence[Tensor]) -> None:
        """Let the backward pass add into these."""
        self.collect()
        self._passes = 0
        for parameter, view in zip(self.parameters, self._views_of(buffers), strict=True):
            parameter.grad = view

    def await_into(self, buffers: Sequence[Tensor]) -> None:
        """What the next backward pass makes is to be in these instead of what they have, once it is collected.

        On the host that takes half the time of adding to zeros, which passes over memory five times.
        """
        self.collect()
        self.detach()
        self._passes, self._fresh, self._views = 0, buffers, self._views_of(buffers)
        buffers[0][self.parts[0].numbers - 1] = 0.0  # the loss

    def awaits(self, buffers: Sequence[Tensor]) -> bool:
        """Whether what is to be in these lies elsewhere still."""
        return self._fresh is buffers

    def drop(self) -> None:
        """What is awaited is of no use any more."""
        self._fresh, self._views = None, []

    def collect(self, which: Sequence[int] | None = None) -> None:
        """What was awaited is there: put it where it is to be. `which`: of these parameters, by their numbers."""
        if self._fresh is None:
            return
        numbers = which if which is not None else range(len(self.parameters))
        found = [self.parameters[number].grad for number in numbers]
        views = [self._views[number] for number in numbers]
        _put(found, views)
        for number, view in zip(numbers, views, strict=True):
            self.parameters[number].grad = view
        if which is None:
            self.drop()

    def put(self, which: Sequence[int], into: Sequence[Tensor], *, add: bool = False) -> None:
        """Copy what is awaited of some parameters to their places in other buffers, or add it to what is there."""
        found = [self.parameters[number].grad for number in which]
        _put(found, [self._view(into, number) for number in which], add=add)

    def detach(self) -> None:
        """Parameters have no gradients any more."""
        for parameter in self.parameters:
            parameter.grad = None

    def add_loss(self, buffers: Sequence[Tensor], loss: Tensor) -> None:
        """Keep the loss of a shard beside its gradient: it is summed as that is.

        Raises `UsageError` where it is the second one: what a shard adds up must not depend on who computes it.
        """
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
        if self.awaits(buffers):
            grads = [p.grad for p in self.parameters if p.grad is not None]
            if grads and all(grad.layout == torch.strided for grad in grads):
                norms = torch._foreach_norm(grads, 2, torch.float32)
                awaited: Tensor = torch.linalg.vector_norm(torch.stack(norms))
                return awaited
            self.collect()
        found = [
            torch.linalg.vector_norm(buffer[: part.numbers - (number == 0)], dtype=torch.float32)
            for number, (part, buffer) in enumerate(zip(self.parts, buffers, strict=True))
            if part.parameters
        ]
        whole: Tensor = torch.linalg.vector_norm(torch.stack(found))
        return whole

    def _views_of(self, buffers: Sequence[Tensor]) -> list[Tensor]:
        """The part of each parameter."""
        return [self._view(buffers, number) for number in range(len(self.parameters))]

    def _view(self, buffers: Sequence[Tensor], number: int) -> Tensor:
        (part, first, end), parameter = self.places[number], self.parameters[number]
        return like(buffers[part][first:end].view(part_of(parameter).shape), parameter)


def _put(grads: Sequence[Tensor | None], views: Sequence[Tensor], *, add: bool = False) -> None:
    """Copy gradients to where they are to be, or add them to what is there."""
    plain: list[tuple[Tensor, Tensor]] = []
    for grad, view in zip(grads, views, strict=True):
        if grad is not None and grad.layout == torch.strided:
            plain.append((view, grad))
            continue
        if not add:
            view.zero_()
        if grad is not None:
            view.add_(grad)
    if plain:
        combine = torch._foreach_add_ if add else torch._foreach_copy_
        combine([view for view, _ in plain], [grad for _, grad in plain])
