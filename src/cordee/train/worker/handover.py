"""State that passes between workers while training goes on: out to those who wait, and in from a member."""

import queue
import time
from collections.abc import Sequence
from contextlib import suppress

from torch import Tensor

from cordee.train.wire import Feeding, Member
from cordee.train.worker.advance import Advance
from cordee.train.worker.faults import Faults
from cordee.train.worker.feed import Ended, Feed, Mouth, Whole, fill
from cordee.train.worker.job import Job
from cordee.train.worker.state import place, tensors_of

REST_S = 1.0
"""So long feeding waits for a step that others wait for: it takes memory and cores from that."""


class Outgoing:
    """Feeds those that the coordinator names."""

    def __init__(self, advance: Advance, job: Job, faults: Faults) -> None:
        self._advance, self._job, self._faults = advance, job, faults
        self._wanted: list[Feeding] = []
        self._feeds: dict[int, Feed] = {}
        self.members: tuple[Member, ...] = ()
        self._from_s = 0.0

    def want(self, feeding: Feeding) -> None:
        """One more is to be fed. From any thread."""
        self._wanted.append(feeding)

    def rest(self, *, up_for: bool) -> None:
        """Whether what a lost member has computed is to be made up for first."""
        self._from_s = time.monotonic() + REST_S if up_for else 0.0

    def start(self) -> None:
        """Begin with those that are wanted, from the state as it is now."""
        while self._wanted and time.monotonic() >= self._from_s:
            wanted = self._wanted.pop(0)
            for old in list(self._feeds) if wanted.anew else [wanted.joiner]:
                if old in self._feeds:
                    self._feeds.pop(old).end()
            if wanted.anew:
                continue
            header, tensors = tensors_of(self._advance.trained, self._advance.step)
            self._faults.reach[wanted.joiner] = wanted.to
            self._faults.at("feed", self._advance.step)
            by = self._job.secret, self._job.worker
            whole = Whole(header, self.members)
            self._feeds[wanted.joiner] = Feed(wanted.to, by, whole, tensors, self._half)

    def _half(self) -> None:
        self._faults.at("stream", self._advance.step)

    def again(self) -> None:
        """The state has more to it than before: those that are fed get all of it once more."""
        for feed in self._feeds.values():
            header, tensors = tensors_of(self._advance.trained, self._advance.step)
            feed.anew(Whole(header, self.members), tensors)

    def add(self, gradient: Sequence[Tensor], *, skipped: bool) -> None:
        """A step was made with this gradient, or left out."""
        self._from_s = 0.0
        if self._feeds:
            for feed in self._feeds.values():
                used = self._advance.used
                feed.add(self._advance.step - 1, used, () if skipped else gradient)

    def stop(self, members: Sequence[int]) -> None:
        """Those that have come in need nothing more."""
        for joiner in [j for j, feed in self._feeds.items() if j in members or feed.broken]:
            self._feeds.pop(joiner).end()


FED_S = 5.0
"""A feed that is silent for so long brings nothing more."""


class Incoming:
    """Takes what a member feeds, until this worker is one itself."""

    def __init__(self, advance: Advance, mouth: Mouth, faults: Faults) -> None:
        self._advance, self._faults, self._mouth = advance, faults, mouth
        mouth.half = self._half
        self.filled = False
        """Whether a whole state came."""
        self.lost = -1
        """Who has fed last, and ended."""
        self.members: tuple[Member, ...] = ()
        """With whom this worker is to work together."""

    @property
    def empty(self) -> bool:
        """Whether all that came is taken."""
        return self._mouth.empty

    def take(self, most_s: float) -> bool:
        """Take one thing. False where whoever fed has ended. Raises `queue.Empty`."""
        fed = self._mouth.next(most_s)
        if isinstance(fed, Ended):
            self.lost = fed.worker
            return False
        advance = self._advance
        if isinstance(fed.head, Whole):
            self.members = fed.head.members
            self._reach(fed.head)
            self._faults.at("fed", fed.head.header.step)
            fill(place(advance.trained, fed.head.header), fed.data)
            advance.filled(fed.head.header.step)
            self.filled = True
        elif fed.head.step == advance.step and not fed.data:
            advance.skip()
        elif fed.head.step == advance.step:
            advance.fed(fed.data, fed.head.groups)
        return True

    def _reach(self, whole: Whole) -> None:
        self._faults.reach |= {member.worker: member.feed for member in whole.members}

    def _half(self, whole: Whole) -> None:
        self._reach(whole)
        self._faults.at("stream", whole.header.step)

    def until(self, step: int) -> None:
        """Take what is fed until the state is that of a step, or nothing more comes."""
        with suppress(queue.Empty):
            while self._advance.step < step and self.take(FED_S):
                pass
