"""Gives what a worker keeps to one of another host, too, in the background: a state, and then what each step was made with.

It is sent from where it is kept. What still waits to be sent is not written over: training waits for it, a while.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cordee.train.checkpoint.kept import Step
from cordee.train.checkpoint.transfer import give_state, give_step
from cordee.train.wire import Refused, Told
from cordee.train.worker.holding import GONE, Giving, forget, opened

WAIT_S = 1.0
"""So long training waits for what is to be written over. The other side begins anew with the next state then."""
REST_S = 10.0
"""After one that failed nothing is sent for so long."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something to be sent."""

    lies: Path | int
    """In the file of a state, or in a slot."""
    give: Callable[[socket.socket], None]


class Copying:
    """Of one worker."""

    def __init__(self, secret: str, worker: int, place: int, say: Callable[[Told], None]) -> None:
        """`place`: the part of the model that it has."""
        self._secret, self._worker, self._place, self._say = secret, worker, place, say
        self._changed = threading.Condition()
        self._to = ""
        """HOST:PORT of who takes it; none: nobody."""
        self._queue: deque[Item] = deque()
        self._since: list[Item] = []
        """The last state, and the steps since: what one needs who takes it from now on."""
        self._follows = False
        """Whether the other side has, or will have, what the next step goes on from."""
        self._turn = 0
        """Another number for each connection."""
        self._connection: socket.socket | None = None
        self._rest_until_s = 0.0
        self._before: set[str] = set()
        """Who took it before."""
        self._failed, self._doubt = "", False
        self._thread: threading.Thread | None = None

    def to(self, feed: str) -> None:
        """Another one takes it from now on, or nobody. From any thread."""
        with self._changed:
            if feed == self._to:
                return
            self._before |= {self._to} - {""}
            self._to, self._rest_until_s, self._doubt = feed, 0.0, False
            self._begin(self._since)
            if not feed:
                self._forget()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="train_copy", daemon=True)
                self._thread.start()

    def wrote(self, newest: tuple[Path, int], slots: int, sizes: Sequence[int]) -> None:
        """A state was written into a file, and when; the steps since come into so many slots."""
        item = Item(newest[0], partial(give_state, newest=newest, slots=slots, sizes=sizes))
        with self._changed:
            self._since = [item]
            self._follows |= time.monotonic() >= self._rest_until_s
            if self._follows:
                self._add(item)

    def made(self, slot: int, step: Step) -> None:
        """A step was made with what lies in a slot."""
        item = Item(slot, partial(give_step, step=step))
        with self._changed:
            self._since.append(item)
            if self._follows:
                self._add(item)

    def free(self, lies: Path | int) -> None:
        """Wait until what lies there is sent, or is not to be sent any more: it will be written over."""
        with self._changed:
            if self._changed.wait_for(lambda: all(i.lies != lies for i in self._queue), WAIT_S):
                return
            self._begin(())
        self._fail(f"it was not sent in {WAIT_S:g} s", sure=True)

    def _add(self, item: Item) -> None:
        if self._to:
            self._queue.append(item)
            self._changed.notify_all()

    def _begin(self, items: Sequence[Item]) -> None:
        """Send these and what follows, on another connection. With none nothing is sent until the next state."""
        self._turn += 1
        if self._connection is not None:
            with suppress(OSError):  # nothing more goes out of what may be written over from now on
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection = None
        self._queue.clear()
        self._follows = bool(items)
        if self._to:
            self._queue.extend(items)
        self._changed.notify_all()

    # In the background.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                to, turn = self._to, self._turn
            wish = Giving(self._place, self._worker)
            try:
                with opened(to, self._secret, wish) as connection:
                    self._give(connection, turn)
            except GONE as error:
                with self._changed:
                    meant = turn != self._turn  # it was broken off here
                    if not meant:
                        self._begin(())
                if not meant:
                    self._fail(
                        str(error) or "its connection ended", sure=isinstance(error, Refused)
                    )

    def _give(self, connection: socket.socket, turn: int) -> None:
        """Give what is in the queue, until that begins anew. Raises what a connection does that ends."""
        began_s, to = time.monotonic(), ""
        while True:
            with self._changed:
                if turn == self._turn:
                    self._connection = connection
                self._changed.wait_for(lambda: self._queue or turn != self._turn)
                if turn != self._turn:
                    return
                item = self._queue[0]
            item.give(connection)
            with self._changed:
                if turn != self._turn:
                    return
                self._queue.popleft()
                self._changed.notify_all()
            if not to:
                to, self._failed, self._doubt = host_of(self._to), "", False
                took_s = round(time.monotonic() - began_s, 4)
                self._say(Told("copied", {"place": self._place, "to": to, "took_s": took_s}))
                self._forget()

    def _forget(self) -> None:
        """Tell those hosts that it is needed no more there."""
        with self._changed:
            before, self._before = self._before, set()
            others = [feed for feed in before if host_of(feed) != host_of(self._to)]
        for feed in others:
            told = (feed, self._secret, self._place)
            threading.Thread(target=forget, args=told, name="train_copy", daemon=True).start()

    def _fail(self, why: str, *, sure: bool) -> None:
        """Tell of it once, however often it happens in a row. Not `sure`: the other side may be gone, and another one come."""
        self._rest_until_s = time.monotonic() + REST_S
        sure, self._doubt = sure or self._doubt, True
        if sure and self._failed != why:
            self._failed = why
            to = host_of(self._to)
            self._say(Told("copy-failed", {"place": self._place, "to": to, "error": why}))


def host_of(feed: str) -> str:
    """The address of a worker's host."""
    return feed.rpartition(":")[0]
