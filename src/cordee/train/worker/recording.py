"""A worker's part of what is kept in shared memory: now and then its state, and what each step since was made with.

A gradient is a third of the state of Adam or less, and on the CPU it is brought together where it is to be kept: to be
ready for the end of all workers costs next to nothing.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cordee.train.checkpoint.memory import Memory, free_bytes
from cordee.train.checkpoint.snapshot import About, Block
from cordee.train.checkpoint.trail import Trail
from cordee.train.worker.advance import Advance
from cordee.train.worker.copying import Copying
from cordee.train.worker.state import Entry, Header, tensors_of

SLOTS_MOST = 16
"""Gradients that are kept: with more of them it takes longer to make their steps again. Not fewer than others need."""
SLOTS_LEAST = 4
SHARE = 8
"""The gradients take this part of free shared memory at most;"""
PART_SHARE = 16
"""those of a part of the model this one, for another host's may come."""
BEHIND = 2
"""Steps by which a worker may be behind another one: so many can still be gone back when a state is written."""


class Recording:
    """Of one worker."""

    def __init__(
        self,
        memory: Memory,
        worker: int,
        advance: Advance,
        about: Callable[[Header], About],
        *,
        steps: bool,
        copying: Copying | None = None,
    ) -> None:
        """`steps`: gradients are kept, too. `copying`: gives all to another host."""
        self._memory, self._worker, self._advance, self._about = memory, worker, advance, about
        self._steps, self._copying = steps, copying
        self._trail: Trail | None = None
        self._slots = self._since = 0
        self._last = -1
        self._sizes: list[int] = []
        self._buffers: list[tuple[int, int]] = []
        self._elsewhere = 0

    def room(self) -> list[Tensor] | None:
        """Where the next gradient is to be; None: anywhere."""
        on_host = self._advance.layout.parts[0].device.type == "cpu"
        if self._trail is None or not on_host or self._slots < SLOTS_MOST:
            return None
        return self._room(self._trail)

    def made(self, gradient: Sequence[Tensor] | None, members: Sequence[int]) -> None:
        """A step was made with a gradient, or without. Raises `OSError`, `CordeeError`."""
        step, self._elsewhere = self._advance.step, 0
        goes_on = step == self._last + 1 and self._since < self._slots - BEHIND
        self._last = -1
        if goes_on and self._buffers == self._seen() and self._add(step, gradient):
            self._since += 1
            if self._copying is not None and self._trail is not None:
                self._copying.made(*self._trail.last)
        else:
            self._write(step)
            self._memory.remove_but(members)
        self._last = step

    def rests(self) -> None:
        """A step was made, and another worker keeps it; what this one kept goes when that one surely has."""
        self._elsewhere += 1
        if self._trail is not None and self._elsewhere > BEHIND:
            self._trail.remove()
            self._trail, self._slots, self._last = None, 0, -1

    def _add(self, step: int, gradient: Sequence[Tensor] | None) -> bool:
        assert self._trail is not None
        parts = self._advance.layout.parts
        if gradient is None:
            self._trail.room()
            return self._trail.made(step, [], ())
        room = self._room(self._trail) or ()
        for part, kept, made in zip(parts, room, gradient, strict=True):
            if kept.data_ptr() != made.data_ptr():
                kept[: part.numbers].copy_(made[: part.numbers])
        sizes = [part.numbers * part.dtype.itemsize for part in parts]
        return self._trail.made(step, self._advance.used, sizes)

    def _write(self, step: int) -> None:
        header, tensors = tensors_of(self._advance.trained, step)
        trail = self._trail or self._begun()
        trail.write(self._about(header), blocks(header, [_on_host(t) for t in tensors]))
        self._since, self._buffers = 0, self._seen()
        if self._trail is None:
            self._trail = trail
            self._prepare(trail)
        if self._copying is not None:
            self._copying.wrote(trail.newest, self._slots, self._sizes)

    def _begun(self) -> Trail:
        trail = Trail(self._memory, self._worker)
        if self._copying is not None:
            trail.before = self._copying.free
        return trail

    def _prepare(self, trail: Trail) -> None:
        self._sizes = [b.numel() * b.element_size() for b in self._advance.layout.buffers()]
        most = free_bytes() // (SHARE if self._copying is None else PART_SHARE)
        slots = min(SLOTS_MOST, most // sum(self._sizes)) if self._steps else 0
        if slots >= SLOTS_LEAST:
            trail.prepare(slots, self._sizes)
            self._slots = slots

    def _room(self, trail: Trail) -> list[Tensor] | None:
        found = trail.room()
        if found is None:
            return None
        pairs = zip(found, self._advance.layout.parts, strict=True)
        return [torch.frombuffer(data, dtype=part.dtype) for data, part in pairs]

    def _seen(self) -> list[tuple[int, int]]:
        """Of buffers of the model: they change without a gradient."""
        return [(b.data_ptr(), b._version) for b in self._advance.trained.model.buffers()]


def blocks(header: Header, tensors: Sequence[Tensor]) -> list[Block]:
    """The bytes of tensors on the host, those of types with more bytes first."""
    pairs = sorted(zip(header.entries, tensors, strict=True), key=lambda p: -p[1].element_size())
    return [Block(name_of(e), e.dtype, e.shape, _bytes(tensor), e.begins) for e, tensor in pairs]


def name_of(entry: Entry) -> str:
    """The name of a tensor in a file; of the optimizer's as PyTorch's `get_optimizer_state_dict` names them."""
    if entry.where == "optimizer":
        return f"optimizer.state.{entry.owner or entry.parameter}.{entry.name}"
    return f"{entry.where}.{entry.name}"


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.to("cpu").contiguous()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.view(-1).view(torch.uint8).numpy().data
