"""What one worker writes into shared memory: states by turns into two files, and gradients into a ring."""

import os
from collections.abc import Sequence
from typing import Any

from cordee.train.checkpoint import ring
from cordee.train.checkpoint.kept import Made
from cordee.train.checkpoint.memory import Memory
from cordee.train.checkpoint.ring import Ring
from cordee.train.checkpoint.snapshot import About, Block, Broken, read, write


class Trail:
    """Of one worker."""

    def __init__(self, memory: Memory, worker: int) -> None:
        self._memory, self._worker = memory, worker
        *self._states, self._steps = memory.of(worker)
        self._ring: Ring | None = None
        self._written_ns = 0
        self._next: int | None = None
        self._slot = 0

    def prepare(self, slots: int, sizes: Sequence[int]) -> None:
        """Take room for the gradients of steps: so many, with parts of so many bytes. Raises `OSError`.

        What another one left there under this number is gone then.
        """
        self._ring = ring.make(self._steps, slots, sizes)

    def write(self, about: About, blocks: Sequence[Block]) -> None:
        """Keep a whole state instead of the older one. Raises `OSError`, `CordeeError`."""
        if self._next is None:  # another one may have written under this number before
            self._next = self._older()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._states[self._next], flags, 0o600)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise PermissionError(f"{self._states[self._next]} is someone else's")
            write(descriptor, about, blocks, summed=False)
        finally:
            os.close(descriptor)
        self._written_ns = about.written_ns
        self._next = 1 - self._next

    def room(self) -> list[memoryview] | None:
        """Where the gradient of the next step may be put; None: nowhere."""
        if self._ring is None:
            return None
        self._ring.empty(self._slot)
        return self._ring.parts(self._slot)

    def made(self, step: int, groups: list[dict[str, Any]], sizes: Sequence[int]) -> bool:
        """A step was made with the gradient that lies there. False where it cannot be kept."""
        if self._ring is None or not self._written_ns:
            return False
        if not self._ring.end(self._slot, Made(self._written_ns, step, groups, tuple(sizes))):
            return False
        self._slot = (self._slot + 1) % self._ring.slots
        return True

    def remove(self) -> None:
        """Nothing is left of it."""
        for file in [*self._states, self._steps]:
            file.unlink(missing_ok=True)

    def _older(self) -> int:
        written = []
        for file in self._states:
            try:
                written.append(read(file).about.written_ns)
            except (OSError, Broken):
                written.append(0)
        return written.index(min(written))
