"""The state of the last commit in shared memory: two slots, so that one that is half written leaves the other.

It is there until the launcher removes it, and so outlives all workers.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cordee.train.checkpoint.snapshot import (
    About,
    Block,
    Broken,
    Snapshot,
    read,
    step_in,
    write,
)

ROOT = Path("/dev/shm")
SLOTS = 2


def name_for(folder: Path) -> str:
    """The same for each start of a job in a folder, so that what one left behind is found by the next."""
    text = f"{os.geteuid()} {folder.resolve()}"
    return "cordee-train-" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Memory:
    """The slots of one job on this host."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._files = [ROOT / f"{name}-{slot}" for slot in range(SLOTS)]
        self._next: int | None = None

    def write(self, about: About, blocks: Sequence[Block]) -> int:
        """Keep a state instead of the older one; gives its bytes. Raises `OSError`, `CordeeError`."""
        if self._next is None:  # another one may have written before
            found = self.newest()
            self._next = 0 if found is None else 1 - self._files.index(found[0])
        with _locked(self._files[self._next]) as descriptor:
            size = write(descriptor, about, blocks)
        self._next = 1 - self._next
        return size

    def at(self, step: int) -> tuple[Path, Snapshot] | None:
        """What was kept of a step, if that is there and whole."""
        for file in self._files:
            with suppress(OSError, Broken):
                if file.lstat().st_uid == os.geteuid() and step_in(file) == step:
                    return file, read(file)
        return None

    def steps(self) -> list[int]:
        """Of which states were kept."""
        found = []
        for file in self._files:
            with suppress(OSError, Broken):
                found.append(step_in(file))
        return found

    def newest(self) -> tuple[Path, Snapshot] | None:
        """What was kept last, of those that are whole and our own."""
        found: list[tuple[Path, Snapshot]] = []
        for file in self._files:
            with suppress(OSError, Broken):
                if file.lstat().st_uid == os.geteuid():
                    found.append((file, read(file)))
        return max(found, key=lambda pair: pair[1].about.written_ns, default=None)

    def remove(self) -> None:
        """Nothing is left of it, nor of parts of it."""
        for file in [*self._files, *ROOT.glob(f"{self._name}-place*")]:
            with suppress(OSError):
                file.unlink()


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """A slot that nobody else writes to. Raises `OSError` where someone does, or it is not ours."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(f"{file} is someone else's")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)
