"""The launcher's part: what is kept outlives the workers, and nothing of it outlives the job."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.events import Events
from cordee.train.checkpoint.disk import Checkpoints
from cordee.train.checkpoint.keep import Keep
from cordee.train.checkpoint.kept import Kept
from cordee.train.checkpoint.memory import Memory, name_for


def keep_for(
    folder: Path, memory_every: int, checkpoint: Path | None, every: int, host: str = ""
) -> Keep:
    """What is kept of a job in a folder. Shared memory is that of the checkpoints, where there are any.

    `host`: the address of this host, where there are several.
    """
    name = name_for((checkpoint or folder) / host)
    return Keep(
        memory=name if memory_every else "",
        memory_every=max(1, memory_every),
        folder=str(checkpoint.resolve()) if checkpoint is not None else "",
        folder_every=every,
    )


@contextmanager
def custody(keep: Keep, folder: Path, events: Events, *, shared: bool = False) -> Iterator[None]:
    """While a job runs. Raises `UsageError` where another one runs in the same folder.

    `shared`: other hosts of this job have checkpoints in the same folder.
    """
    place = Path(keep.folder) if keep.folder else folder
    memory = Memory(keep.memory or name_for(place))
    with _alone(folder if shared else place):
        if keep.folder:
            Checkpoints(place).clear()
        else:  # a job that was killed with its launcher may have left it
            memory.remove()
        try:
            yield
        finally:
            if keep.folder:
                _rescue(memory, place, events)
            memory.remove()


def _rescue(memory: Memory, folder: Path, events: Events) -> None:
    """What is newer in memory than on the disk is written there before it goes."""
    whole = memory.newest()
    if whole is not None:
        _rescue_part(whole, Checkpoints(folder), folder, events)
    parts = memory.parts()
    newest = {part: kept for part, one in parts.items() if (kept := one.newest()) is not None}
    common = min((kept.step for kept in newest.values()), default=0)
    for part, kept in newest.items():  # none goes on without the others
        _rescue_part(parts[part].at(common) or kept, Checkpoints(folder, part), folder, events)


def _rescue_part(kept: Kept, checkpoints: Checkpoints, folder: Path, events: Events) -> None:
    try:
        if kept.step > max(checkpoints.steps(), default=0):
            file = checkpoints.rescue(kept)
            events.add("checkpoint", step=kept.step, file=str(file))
    except OSError as error:
        why = error.strerror or str(error)
        events.add("checkpoint-failed", step=kept.step, folder=str(folder), error=why)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other job has this folder. One that cannot be opened is told of when it is written to."""
    descriptor = -1
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if descriptor < 0:
        yield
        return
    try:
        with suppress(OSError):  # not every file system has locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"{folder}: another job runs in this folder") from error
        yield
    finally:
        os.close(descriptor)
