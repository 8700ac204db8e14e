"""What one worker writes into shared memory: states by turns into two files, and gradients into a ring."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cordee.train.checkpoint import ring, snapshot
from cordee.train.checkpoint.kept import Made, Step
from cordee.train.checkpoint.memory import Memory
from cordee.train.checkpoint.ring import Ring
from cordee.train.checkpoint.snapshot import About, Block, Broken


class Trail:
    """Of one worker."""

    def __init__(self, memory: Memory, worker: int, *, copied: bool = False) -> None:
        """`copied`: it was written by a worker of another host, and is given to this one."""
        self._memory, self._worker = memory, worker
        *self._states, self._steps = memory.of(worker, copied=copied)
        self._ring: Ring | None = None
        self._written_ns = 0
        self._next: int | None = None
        self._slot = 0
        self.before: Callable[[Path | int], None] = lambda what: None
        """Called before the file of a state, or a slot, is written over."""

    @property
    def newest(self) -> tuple[Path, int]:
        """The file of the state that was written last, and when that was."""
        assert self._next is not None
        return self._states[1 - self._next], self._written_ns

    def prepare(self, slots: int, sizes: Sequence[int]) -> None:
        """Take room for the gradients of steps: so many, with parts of so many bytes. Raises `OSError`.

        What another one left there under this number is gone then.
        """
        self._ring, self._slot = ring.make(self._steps, slots, sizes), 0

    def write(self, about: About, blocks: Sequence[Block]) -> None:
        """Keep a whole state instead of the older one. Raises `OSError`, `CordeeError`."""
        with self._older(about.written_ns) as descriptor:
            snapshot.write(descriptor, about, blocks, summed=False)

    def copy(self, written_ns: int, size: int, read: Callable[[memoryview], int]) -> None:
        """The same, of one whose file is copied. Raises `OSError`, `EOFError` where it does not come to its end."""
        with self._older(written_ns) as descriptor:
            snapshot.copy(descriptor, size, read)

    def room(self) -> list[memoryview] | None:
        """Where the gradient of the next step may be put; None: nowhere."""
        if self._ring is None:
            return None
        self.before(self._slot)
        self._ring.empty(self._slot)
        return self._ring.parts(self._slot)

    def made(self, step: int, groups: list[dict[str, Any]], sizes: Sequence[int]) -> bool:
        """A step was made with the gradient that lies there. False where it cannot be kept."""
        return bool(self._written_ns) and self.ends(
            Made(self._written_ns, step, groups, tuple(sizes))
        )

    def ends(self, made: Made) -> bool:
        """The same, as it was told."""
        if self._ring is None or not self._ring.end(self._slot, made):
            return False
        self._slot = (self._slot + 1) % self._ring.slots
        return True

    @property
    def last(self) -> tuple[int, Step]:
        """The slot that was ended last, and what is in it."""
        assert self._ring is not None
        slot = (self._slot - 1) % self._ring.slots
        step = self._ring.at(slot)
        assert step is not None
        return slot, step

    def remove(self) -> None:
        """Nothing is left of it."""
        for file in [*self._states, self._steps]:
            file.unlink(missing_ok=True)

    @contextmanager
    def _older(self, written_ns: int) -> Iterator[int]:
        """The older of both files, to be written over. Raises `OSError`."""
        if self._next is None:  # another one may have written under this number before
            self._next = self._first()
        file = self._states[self._next]
        self.before(file)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(file, flags, 0o600)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise PermissionError(f"{file} is someone else's")
            yield descriptor
        finally:
            os.close(descriptor)
        self._written_ns = written_ns
        self._next = 1 - self._next

    def _first(self) -> int:
        written = []
        for file in self._states:
            try:
                written.append(snapshot.read(file).about.written_ns)
            except (OSError, Broken):
                written.append(0)
        return written.index(min(written))
