"""The last commit of a job in shared memory: now and then a whole state, and the gradient of each step since.

One worker of each host writes: a state into the older of its two files, and each gradient into a ring of slots that is
larger than the number of steps between two states, so that a step can be made again from either. All of it is there
until the launcher removes it, and so outlives all workers. What a worker of another host has given is beside it, in
files of the same form.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from cordee.core.errors import CordeeError
from cordee.train.checkpoint import ring
from cordee.train.checkpoint.keep import memory_of
from cordee.train.checkpoint.kept import Kept, Step
from cordee.train.checkpoint.snapshot import About, Broken, about_in, read

ROOT = Path("/dev/shm")
STATES = 2
COPIED = "c"
"""Stands before the number of a worker that has given what it kept."""
WRITER = f"[{COPIED}0-9]"


def name_for(folder: Path) -> str:
    """The same for each start of a job in a folder, so that what one left behind is found by the next."""
    text = f"{os.geteuid()} {folder.resolve()}"
    return "cordee-train-" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def free_bytes() -> int:
    """That shared memory still takes. Raises `OSError`."""
    found = os.statvfs(ROOT)
    return found.f_bavail * found.f_frsize


class Memory:
    """What is kept of one job, or of one part of its model, on this host."""

    def __init__(self, name: str) -> None:
        self.name = name

    def newest(self) -> Kept | None:
        """What was kept last, of that which is whole and our own."""
        return self._find(sorted(self._states(), key=lambda pair: -pair[1].written_ns), None)

    def at(self, step: int) -> Kept | None:
        """What was kept of a step, if that is there and whole."""
        return self._find([pair for pair in self._states() if step in self._reached(*pair)], step)

    def steps(self) -> list[int]:
        """Those that can be gone back to."""
        return sorted({step for pair in self._states() for step in self._reached(*pair)})

    def parts(self) -> dict[int, "Memory"]:
        """Those of parts of the model that workers of this host have kept; others keep what they gave."""
        found = map(_part, ROOT.glob(f"{self.name}-place*-*"))
        return {n: Memory(memory_of(self.name, n)) for n in sorted({n for n in found if n >= 0})}

    def remove(self) -> None:
        """Nothing is left of it, nor of parts of it."""
        for file in ROOT.glob(f"{self.name}-*"):
            with suppress(OSError):
                file.unlink()

    def of(self, worker: int, *, copied: bool = False) -> list[Path]:
        """The files of one worker: of its states, and of its steps last; `copied`: those that it was given."""
        writer = f"{COPIED}{worker}" if copied else str(worker)
        return [*(ROOT / f"{self.name}-{writer}-{n}" for n in range(STATES)), self._ring(writer)]

    def remove_but(self, workers: Sequence[int]) -> None:
        """What workers wrote that are no more is not needed, nor what others gave."""
        staying = {str(worker) for worker in workers}
        self._remove(lambda writer: writer not in staying)

    def remove_copies(self, but: int | None = None) -> None:
        """What workers of other hosts have given is not needed, but for that of one."""
        self._remove(lambda writer: writer.startswith(COPIED) and writer != f"{COPIED}{but}")

    def _remove(self, superfluous: Callable[[str], bool]) -> None:
        for file in self._files(f"{WRITER}*-*"):
            if superfluous(_writer(file)):
                with suppress(OSError):
                    file.unlink()

    def _find(self, pairs: Sequence[tuple[Path, About]], step: int | None) -> Kept | None:
        for file, about in pairs:
            with suppress(OSError, Broken):
                since = self._since(file, about)
                last = len(since) if step is None else step - about.step
                return Kept(file, read(file), tuple(since[:last]))
        return None

    def _states(self) -> Iterator[tuple[Path, About]]:
        for file in self._files(f"{WRITER}*-[0-9]"):
            with suppress(OSError, Broken):
                yield file, about_in(file)

    def _reached(self, file: Path, about: About) -> range:
        return range(about.step, about.step + len(self._since(file, about)) + 1)

    def _since(self, file: Path, about: About) -> list[Step]:
        """Steps from a state on, without a gap."""
        with suppress(OSError, CordeeError):
            made = ring.read(self._ring(_writer(file))).made()
            by_step = {
                one.step: (one, data) for one, data in made if one.since_ns == about.written_ns
            }
            found: list[Step] = []
            while (after := by_step.get(about.step + len(found) + 1)) is not None:
                found.append(after)
            return found
        return []

    def _ring(self, writer: str) -> Path:
        return ROOT / f"{self.name}-{writer}-steps"

    def _files(self, pattern: str) -> Iterator[Path]:
        for file in ROOT.glob(f"{self.name}-{pattern}"):
            with suppress(OSError):
                about = file.lstat()
                if about.st_uid == os.geteuid() and stat.S_ISREG(about.st_mode):
                    yield file


def _part(file: Path) -> int:
    found = re.search(r"-place(\d+)-\d+-(?:\d|steps)$", file.name)
    return int(found[1]) if found else -1


def _writer(file: Path) -> str:
    found = re.search(rf"-({COPIED}?\d+)-(?:\d|steps)$", file.name)
    return found[1] if found else ""
