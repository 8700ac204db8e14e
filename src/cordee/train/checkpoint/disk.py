"""Checkpoints in a folder: each is written under another name first, and the last two are kept."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cordee.train.checkpoint.snapshot import About, Block, write
from cordee.train.policy.keeping import superfluous

PART = ".part"
"""Ends the name of a checkpoint that is being written."""


class Checkpoints:
    """Those in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, about: About, blocks: Sequence[Block]) -> Path:
        """Write one and remove what it makes superfluous. Raises `OSError`, `CordeeError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self.file(about.step)
        part = file.with_name(file.name + PART)
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
            raise
        self._settle(about.step)
        return file

    def file(self, step: int) -> Path:
        return self._folder / f"step-{step:09}.safetensors"

    def steps(self) -> list[int]:
        """Of which there are checkpoints, whole or not; the newest first. Raises `OSError`."""
        if not self._folder.is_dir():
            return []
        names = (re.fullmatch(r"step-(\d+)\.safetensors", f.name) for f in self._folder.iterdir())
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def clear(self) -> None:
        """Remove what was not written to its end."""
        with suppress(OSError):
            for part in self._folder.glob(f"step-*{PART}"):
                part.unlink()

    def _settle(self, written: int) -> None:
        """Old checkpoints are gone, and the new name is on the disk, too."""
        for step in superfluous(self.steps(), written):
            self.file(step).unlink(missing_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # not every file system can do that with a folder
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
