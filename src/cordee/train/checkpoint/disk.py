"""Checkpoints in a folder: each is a folder of its own, with a file for each part of the model.

`torch.distributed.checkpoint` reads such a folder whole. Each file is written under another name first, and the last
two are kept. Beside one that was rescued from shared memory lie the gradients of the steps that were made since, in
the same format, but under a name that keeps them out of the state.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import msgspec

from cordee.train.checkpoint.kept import Kept, Made, Step
from cordee.train.checkpoint.snapshot import About, Block, Broken, about_in, read, write
from cordee.train.policy.keeping import superfluous

PART = ".part"
"""Ends the name of a checkpoint that is being written."""


class Checkpoints:
    """Those in one folder of one part of the model, which is the only one where it has all."""

    def __init__(self, folder: Path, part: int = 0) -> None:
        self._folder, self._part = folder, part

    def write(self, about: About, blocks: Sequence[Block]) -> Path:
        """Write one and remove what it makes superfluous. Raises `OSError`, `CordeeError`."""
        file = self.file(about.step)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._since(about.step).unlink(missing_ok=True)
        self._write(file, about, blocks)
        self._settle(about.step)
        return file

    def rescue(self, kept: Kept) -> Path:
        """Write what was kept in memory. Raises `OSError`, `CordeeError`."""
        about = kept.snapshot.about
        file = self.write(about, kept.snapshot.blocks)
        if kept.since:
            told = msgspec.json.encode([made for made, _ in kept.since]).decode()
            said = About(kept.step, about.written_ns, about.model, told)
            blocks = [
                Block(f"{made.step}.{number}", "uint8", (part.nbytes,), part)
                for made, parts in kept.since
                for number, part in enumerate(parts)
            ]
            self._write(self._since(about.step), said, blocks)
        return file

    def reachable(self) -> list[int]:
        """Steps that can be gone on from: of those that are kept, and what was made since. Raises `OSError`."""
        return sorted({n for step in self.steps() for n in range(step, self.reached(step) + 1)})

    def at(self, step: int) -> Kept | None:
        """What was kept of a step, if that is there. Raises `OSError`, `Broken`."""
        for base in self.steps():
            if base <= step <= self.reached(base):
                kept = self.read(base)
                return replace(kept, since=kept.since[: step - base])
        return None

    def reached(self, step: int) -> int:
        """How far the job is with one, and with what was made since. Raises `OSError`."""
        with suppress(FileNotFoundError, Broken):
            return about_in(self._since(step)).step
        return step

    def read(self, step: int) -> Kept:
        """One, and what was made since. Raises `OSError`, `Broken`."""
        file, more = self.file(step), self._since(step)
        snapshot = read(file)
        if not more.exists():
            return Kept(file, snapshot)
        found = read(more)
        if found.about.written_ns != snapshot.about.written_ns:
            return Kept(file, snapshot)
        blocks = iter(found.blocks)
        made = msgspec.json.decode(found.about.header, type=list[Made])
        since: list[Step] = [(one, [next(blocks).data for _ in one.bytes]) for one in made]
        return Kept(file, snapshot, tuple(since))

    def _write(self, file: Path, about: About, blocks: Sequence[Block]) -> None:
        part = file.with_name(f"{file.name}.{uuid4().hex}{PART}")  # other hosts may write the same
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                write(descriptor, about, blocks)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            part.rename(file)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            _remove_if_empty(file.parent)
            raise

    def file(self, step: int) -> Path:
        return self._folder / f"step-{step:09}" / f"part-{self._part}.safetensors"

    def _since(self, step: int) -> Path:
        return self.file(step).with_suffix(".since")

    def steps(self) -> list[int]:
        """Of which there are checkpoints, whole or not; the newest first. Raises `OSError`."""
        if not self._folder.is_dir():
            return []
        names = (re.fullmatch(r"step-(\d{9,})", folder.name) for folder in self._folder.iterdir())
        steps = (int(name[1]) for name in names if name)
        return sorted((step for step in steps if self.file(step).exists()), reverse=True)

    def clear(self) -> None:
        """Remove what was not written to its end, of any part."""
        with suppress(OSError):
            for part in self._folder.glob(f"step-*/*{PART}"):
                part.unlink()
                _remove_if_empty(part.parent)

    def _settle(self, written: int) -> None:
        """Old checkpoints are gone, and the new name is on the disk, too."""
        for step in superfluous(self.steps(), written):
            self.file(step).unlink(missing_ok=True)
            self._since(step).unlink(missing_ok=True)
            _remove_if_empty(self.file(step).parent)
        _settle(self.file(written).parent)
        _settle(self._folder)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _settle(folder: Path) -> None:
    """What was written into a folder is there also after the power fails."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system can do that with a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
