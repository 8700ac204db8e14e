"""The gradients of the last steps in a file of shared memory, one slot after another.

A slot is a head and what a step was made with. The length of the head is written last, and taken away before anything
else is written into the slot: whoever reads it when its writer is gone finds a whole step there, or none.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import msgspec

from cordee.core.errors import CordeeError
from cordee.train.checkpoint.kept import Made, Step

HEAD_BYTES = 1 << 16
LENGTH_BYTES = 8
PAGE_BYTES = 4096


class _Shape(msgspec.Struct, frozen=True):
    slots: int
    sizes: tuple[int, ...]


class Ring:
    """Slots in a file."""

    def __init__(self, mapped: mmap.mmap, shape: _Shape) -> None:
        self._view, self.slots = memoryview(mapped), shape.slots
        starts = [0, *accumulate(_even(size) for size in shape.sizes)]
        self._parts = list(zip(starts, shape.sizes, strict=False))
        self._slot_bytes = HEAD_BYTES + starts[-1]

    def parts(self, slot: int) -> list[memoryview]:
        """The room for each part of a gradient."""
        start = self._at(slot) + HEAD_BYTES
        return [self._view[start + at : start + at + size] for at, size in self._parts]

    def empty(self, slot: int) -> None:
        """Nothing is in a slot, whatever is written there."""
        at = self._at(slot)
        self._view[at : at + LENGTH_BYTES] = bytes(LENGTH_BYTES)

    def end(self, slot: int, made: Made) -> bool:
        """What a step was made with is in a slot. False where more is to be said of it than there is room for."""
        text = msgspec.json.encode(made)
        if len(text) > HEAD_BYTES - LENGTH_BYTES:
            return False
        at = self._at(slot)
        self._view[at + LENGTH_BYTES : at + LENGTH_BYTES + len(text)] = text
        self._view[at : at + LENGTH_BYTES] = len(text).to_bytes(LENGTH_BYTES, "little")
        return True

    def made(self) -> Iterator[Step]:
        """What is in slots: steps, and the gradients they were made with."""
        for slot in range(self.slots):
            step = self.at(slot)
            if step is not None:
                yield step

    def at(self, slot: int) -> Step | None:
        """What is in one slot."""
        at = self._at(slot)
        length = int.from_bytes(self._view[at : at + LENGTH_BYTES], "little")
        if not 0 < length <= HEAD_BYTES - LENGTH_BYTES:
            return None
        text = self._view[at + LENGTH_BYTES : at + LENGTH_BYTES + length]
        made = msgspec.json.decode(text, type=Made)
        return made, [p[:n] for p, n in zip(self.parts(slot), made.bytes, strict=False)]

    def _at(self, slot: int) -> int:
        return PAGE_BYTES + slot * self._slot_bytes


def make(file: Path, slots: int, sizes: Sequence[int]) -> Ring:
    """A new one, whose parts take so many bytes. Raises `OSError`, where memory is short, too."""
    shape, whole = _Shape(slots, tuple(sizes)), bytes_of(slots, sizes)
    file.unlink(missing_ok=True)  # one that is cut short ends a process that reads in it
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o600)
    try:
        # Where memory were short later, writing into a mapping would end the process.
        os.posix_fallocate(descriptor, 0, whole)
        text = msgspec.json.encode(shape)
        os.pwrite(descriptor, len(text).to_bytes(LENGTH_BYTES, "little") + text, 0)
        return Ring(mmap.mmap(descriptor, whole), shape)
    except OSError:
        file.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def read(file: Path) -> Ring:
    """What is in a file: a copy, as far as it is written to. Raises `OSError`, `CordeeError`."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        whole = os.fstat(descriptor).st_size
        if whole < PAGE_BYTES:
            raise CordeeError(f"{file} has no steps of a cordee job")
        mapped = mmap.mmap(descriptor, whole, access=mmap.ACCESS_COPY)
    finally:
        os.close(descriptor)
    length = int.from_bytes(mapped[:LENGTH_BYTES], "little")
    try:
        shape = msgspec.json.decode(mapped[LENGTH_BYTES : LENGTH_BYTES + length], type=_Shape)
    except msgspec.DecodeError as error:
        raise CordeeError(f"{file} has no steps of a cordee job") from error
    if whole < bytes_of(shape.slots, shape.sizes):
        raise CordeeError(f"{file} is cut short")
    return Ring(mapped, shape)


def bytes_of(slots: int, sizes: Sequence[int]) -> int:
    """That the file of a ring takes."""
    return PAGE_BYTES + slots * (HEAD_BYTES + sum(map(_even, sizes)))


def _even(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
