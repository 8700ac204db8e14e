"""A worker's part: states are copied at a step border, written in the background, and found again."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from torch import Tensor

from cordee.core.errors import CordeeError, UsageError
from cordee.train.checkpoint.disk import Checkpoints
from cordee.train.checkpoint.keep import Keep, memory_of
from cordee.train.checkpoint.kept import Kept
from cordee.train.checkpoint.memory import Memory
from cordee.train.checkpoint.snapshot import About, Broken
from cordee.train.policy.keeping import Rhythm
from cordee.train.wire import Epoch, Member, Told
from cordee.train.worker.advance import Advance
from cordee.train.worker.copying import Copying, host_of
from cordee.train.worker.digest import shapes
from cordee.train.worker.feed import fill
from cordee.train.worker.holding import Wanted, fetch, found
from cordee.train.worker.job import Job
from cordee.train.worker.lane import Lane
from cordee.train.worker.recording import Recording, blocks, name_of
from cordee.train.worker.state import Header, place, tensors_of

Value = str | int | float | bool | None


class Keeping:
    """Keeps the state of what a worker trains, and goes on from what was kept."""

    def __init__(
        self,
        keep: Keep,
        advance: Advance,
        job: Job,
        say: Callable[[Told], None],
        place: int | None = None,
    ) -> None:
        """`place`: which part of the model this worker has; None: all of it."""
        self._advance, self._worker, self._say = advance, job.worker, say
        self._place, self._job = place, job
        self._model = shapes(advance.layout.parameters)
        self._memory = Memory(memory_of(keep.memory, place)) if keep.memory else None
        self._disk = Checkpoints(Path(keep.folder), place or 0) if keep.folder else None
        self._folder = keep.folder
        self._copying: Copying | None = None
        if self._memory is not None and place is not None:
            self._copying = Copying(job.secret, job.worker, place, say)
        self._elsewhere: dict[int, str] = {}
        """Steps of this part that other hosts have, and who gives each."""
        self._recording = self._recorded(keep.memory_every == 1)
        self._to_disk = Lane(self._write_disk)
        self._in_memory = Rhythm(keep.memory_every)
        self._on_disk = Rhythm(keep.folder_every)
        self._failed: dict[str, str] = {}

    def room(self) -> list[Tensor] | None:
        """Where the next gradient is to be, so that it is kept; None: anywhere."""
        return self._recording.room() if self._recording is not None else None

    def made(self, members: Sequence[Member], gradient: Sequence[Tensor] | None) -> None:
        """A step was made, with a gradient or without: keep it where this worker is the one who does that.

        `members`: those that have the same state.
        """
        step = self._advance.step
        if self._recording is not None and self._in_memory.due(step):
            self._in_memory.last = step
            self._record(self._recording, members, gradient)
        if self._disk is not None and self._on_disk.due(step) and self._leads(members):
            self._offer(self._to_disk, self._on_disk)

    def end(self, members: Sequence[Member]) -> None:
        """All steps are made: the last state is on the disk, too."""
        if self._disk is not None and self._leads(members):
            self._to_disk.wait()
            if self._on_disk.last != self._advance.step:
                self._offer(self._to_disk, self._on_disk)
        self._to_disk.wait()

    def copied(self, to: str) -> None:
        """What is kept is given to this one's host, too, HOST:PORT; none: to nobody. From any thread."""
        if self._copying is not None:
            self._copying.to(to)

    def seek(self, epoch: Epoch) -> None:
        """Where this worker has no state, and others may have kept one of its part, ask which."""
        begun = epoch.epoch > 1 or self._disk is not None
        if self._memory is None or self._place is None or self._advance.step or not begun:
            return
        feeds: dict[str, str] = {}
        for member in epoch.members:
            feeds.setdefault(host_of(member.feed), member.feed)
        feeds.pop(self._job.host, None)
        self._elsewhere = found([*feeds.values()], self._job.secret, self._place)

    def find(self) -> None:
        """Go on from the newest state that is whole, if that is newer than what this worker has."""
        began_s = time.monotonic()
        found = self._newest()
        if found is not None and found.step > self._advance.step:
            self._take(found, began_s)

    @property
    def kept(self) -> tuple[int, ...]:
        """Steps to which a worker with a part of the model can go back, as all others may have to."""
        if self._place is None:
            return ()
        memory = self._memory.steps() if self._memory is not None else []
        disk = self._disk.reachable() if self._disk is not None else []
        return tuple(sorted({*memory, *disk, *self._elsewhere}))

    def back(self, step: int) -> None:
        """Take the state of a step that was kept. Raises `CordeeError`."""
        began_s = time.monotonic()
        found = self._memory.at(step) if self._memory is not None else None
        if found is None and step in self._elsewhere:
            found = self._fetched(step)
        if found is None and self._disk is not None:
            found = self._disk.at(step)
        if found is None:
            raise CordeeError(f"the state of step {step} was kept, and is damaged")
        self._take(found, began_s)

    def _take(self, kept: Kept, began_s: float) -> None:
        """Put a state in place, and make the steps again that were made from it on."""
        header = msgspec.json.decode(kept.snapshot.about.header, type=Header)
        targets = place(self._advance.trained, header)
        data = {block.name: block.data for block in kept.snapshot.blocks}
        fill(targets, [data[name_of(entry)] for entry in header.entries])
        self._advance.step = header.step
        for made, gradient in kept.since:
            if made.bytes:
                self._advance.fed(gradient, made.groups)
            else:
                self._advance.skip()
        self._on_disk.last = self._in_memory.last = kept.step
        took_s = round(time.monotonic() - began_s, 4)
        self._tell("resumed", {"step": kept.step, "file": str(kept.file), "took_s": took_s})

    def _leads(self, members: Sequence[Member]) -> bool:
        return bool(members) and members[0].worker == self._worker

    def _tell(self, kind: str, values: dict[str, Value]) -> None:
        self._say(Told(kind, values))

    # Reading.

    def _newest(self) -> Kept | None:
        kept = self._memory.newest() if self._memory is not None else None
        above = max(self._elsewhere, default=0)
        if above > (kept.step if kept is not None else 0):
            with suppress(RuntimeError):
                kept = self._fetched(above) or kept
        if kept is not None and kept.snapshot.about.model != self._model:
            kept = None  # left behind by a program that has been changed since
        written = self._newest_on_disk(kept.step if kept is not None else 0)
        return written or kept

    def _fetched(self, step: int) -> Kept | None:
        """What another host has kept. Raises `RuntimeError` where it does not come: that one is gone, too."""
        assert self._memory is not None
        assert self._place is not None
        wanted, at = Wanted(self._place, step), (self._elsewhere[step], self._job.secret)
        try:
            fetch(at, wanted, self._memory, self._worker)
        except CordeeError as error:
            raise RuntimeError(str(error)) from error
        return self._memory.at(step)

    def _newest_on_disk(self, above: int) -> Kept | None:
        """The newest whole checkpoint of a later step than `above`. Raises `UsageError`."""
        if self._disk is None:
            return None
        for step in self._on_disk_above(above):
            file = self._disk.file(step)
            try:
                kept = self._disk.read(step)
            except (OSError, Broken) as error:
                self._tell("checkpoint-broken", {"file": str(file), "error": str(error)})
                continue
            if kept.snapshot.about.model != self._model:
                raise UsageError(f"{file} is of another model: name another folder for checkpoints")
            return kept
        return None

    def _on_disk_above(self, above: int) -> list[int]:
        assert self._disk is not None
        try:
            return [step for step in self._disk.steps() if self._disk.reached(step) > above]
        except OSError as error:
            self._tell("checkpoint-broken", {"file": self._folder, "error": str(error)})
            return []

    # Writing.

    def _offer(self, lane: Lane, rhythm: Rhythm) -> None:
        if self._place is not None:
            lane.wait()
        if not lane.busy:
            rhythm.last = self._advance.step
            lane.write(*tensors_of(self._advance.trained, self._advance.step))

    def _recorded(self, steps: bool) -> Recording | None:
        if self._memory is None:
            return None
        to = (self._advance, self._about)
        return Recording(self._memory, self._worker, *to, steps=steps, copying=self._copying)

    def _record(
        self, recording: Recording, members: Sequence[Member], gradient: Sequence[Tensor] | None
    ) -> None:
        if not _first(members, self._worker):
            recording.rests()
            return
        try:
            recording.made(gradient, [member.worker for member in members])
        except (OSError, CordeeError) as error:
            self._fail("memory-failed", self._advance.step, error)
        else:
            self._failed.pop("memory-failed", None)

    def _write_disk(self, header: Header, tensors: Sequence[Tensor]) -> None:
        assert self._disk is not None
        began_s = time.monotonic()
        try:
            file = self._disk.write(self._about(header), blocks(header, tensors))
        except (OSError, CordeeError) as error:
            self._fail("checkpoint-failed", header.step, error)
            return
        self._failed.pop("checkpoint-failed", None)
        took_s = round(time.monotonic() - began_s, 4)
        self._tell("checkpoint", {"step": header.step, "file": str(file), "took_s": took_s})

    def _fail(self, kind: str, step: int, error: Exception) -> None:
        """Tell of it once, however often it happens in a row."""
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if self._failed.get(kind) != why:
            self._failed[kind] = why
            self._tell(kind, {"step": step, "error": why, "folder": self._folder})

    def _about(self, header: Header) -> About:
        text = msgspec.json.encode(header).decode()
        return About(header.step, time.time_ns(), self._model, text)


def _first(members: Sequence[Member], worker: int) -> bool:
    """Whether a worker is the first of its host."""
    hosts = {member.worker: member.store.rpartition(":")[0] for member in members}
    own = hosts.get(worker)
    return own is not None and worker == min(n for n, host in hosts.items() if host == own)
