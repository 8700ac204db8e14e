"""One choice of a request, kept going on one replica after another until it is whole."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from cordee.core.http.client import Stream, Unreachable
from cordee.serve.api.errors import ApiError
from cordee.serve.bundle import HEADER
from cordee.serve.gateway.bundles import Line as Part
from cordee.serve.gateway.fleet import Replica
from cordee.serve.gateway.foreign import Differs, Foreign, decoded
from cordee.serve.gateway.question import Question, question
from cordee.serve.gateway.record import Leg, Line, Record
from cordee.serve.gateway.rival import Rival
from cordee.serve.gateway.seam import Seam
from cordee.serve.gateway.wire import (
    DONE,
    IDS,
    has_usage,
    ids_in,
    is_broken_off,
    is_error,
    is_servers,
    usage_in,
)
from cordee.serve.policy.failover import blame

TIMED_TOKENS = 16
"""What a token takes is noted of so many together."""
ELSEWHERE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers of a replica after which another one is asked."""
IDS_SIZE, TAIL_SIZE = len(IDS), len(b"]}]}\n\n")


class Keeper(Protocol):
    """Finds replicas for relays and brings what they say to clients."""

    def place(self, relay: "Relay") -> None:
        """Start the relay on a replica, now or when there is one."""

    def begin(self, asking: "Relay", url: str, stream: Stream, body: bytes) -> None:
        """Send the request."""

    def adopted(self, relay: "Relay", rival: Rival) -> None:
        """The relay takes the place of its rival."""

    def say(self, relay: "Relay", event: bytes) -> None:
        """An event for the client."""

    def resumed(self, relay: "Relay", gap: "Gap", replica: Replica, gap_s: float) -> None:
        """The choice goes on after its replica failed."""

    def ended(self, relay: "Relay") -> None:
        """The choice is whole."""

    def not_continued(self, relay: "Relay", reason: str) -> None:
        """The answer cannot go on as it began."""

    def refused(self, relay: "Relay", status: int, body: bytes) -> None:
        """The replica says that the request is wrong."""

    def failed(self, relay: "Relay", replica: Replica, reason: str) -> None:
        """The replica broke off."""

    def leave(self, asking: "Relay", replica: Replica) -> None:
        """The relay is on the replica no more."""


@dataclass(slots=True)
class Gap:
    """What a client went through while its request moved."""

    replica: str
    reason: str
    began_s: float
    ids: int


@dataclass(slots=True, eq=False)
class Relay:
    """A choice under way."""

    keeper: Keeper
    record: Record
    line: Line
    replica: Replica | None = None
    failures: float = 0
    avoid: Replica | None = None
    gap: Gap | None = None
    waiting_since_s: float | None = None
    stream: Stream | None = None
    over: bool = False
    silent: bool = True
    """Whether the present replica has told nothing yet."""
    rival: Rival | None = None
    foreign: Foreign | None = None
    part: Part | None = None
    """Of the replica's bundle, where its answer comes through one."""
    leg: Leg | None = None
    """The stretch on the present replica, or on the last one."""
    seam: Seam | None = None
    """Where a vLLM goes on from the tokens that another one made."""
    _status: int = 0
    _rest: bytes = b""
    _began_s: float = 0.0
    _last_s: float = field(default_factory=time.monotonic)
    _first: bool = True
    _timed_s: float = 0.0
    """When it was last noted what a token takes,"""
    _timed_at: int = 0
    """and how many there were."""
    _put: Callable[[bytes], None] | None = None
    """Takes chunks for the client, once nothing but tokens is to come."""

    def start(self, replica: Replica) -> None:
        """Ask a replica for the choice, from where it is."""
        self.waiting_since_s = None
        stream = Stream(self._on_status, self._on_data, self._on_end)
        self._listen(replica, stream, time.monotonic())
        asked = self.question(replica)
        self.seam = asked.seam
        self.keeper.begin(self, replica.url + asked.path, stream, asked.body)

    def question(self, replica: Replica) -> Question:
        """What a replica is asked now."""
        return question(self.record, self.line, self.foreign, replica)

    def adopt(self, rival: Rival) -> None:
        """The second replica goes on with the choice: it is faster, or the first one failed."""
        if self.replica is not None:
            # It would have taken longer than that, so what is late is not judged by the quick alone.
            self.replica.first_tokens_s.append(time.monotonic() - self._began_s)
        self.rival = None
        self._leave()
        self._listen(rival.replica, rival.stream, rival.began_s)
        self._status, self.seam = rival.status, rival.seam
        if self.leg is not None:
            self.leg.span = rival.span
        self.keeper.adopted(self, rival)
        rival.stream.hand_to(self._on_status, self._on_data, self._on_end)
        if rival.data:
            self._on_data(rival.data)

    def _listen(self, replica: Replica, stream: Stream, began_s: float) -> None:
        """Nothing of the answer is known yet."""
        self.replica, self.stream, self._began_s = replica, stream, began_s
        self._status, self._rest, self._first = 0, b"", True
        self._put, self.silent = None, True
        said = self.line.said
        self.leg = Leg(self.line.index, replica.name, replica.pool.name, replica.url, said, began_s)
        self.record.legs.append(self.leg)
        if self.foreign is not None:
            self.foreign.begin()

    def _settle(self) -> None:
        """The present replica speaks: no other one is needed."""
        self.silent = False
        if self.rival is not None:
            self.rival.stop()

    def stop(self) -> None:
        """Nobody wants the choice any more."""
        self.over = True
        self._leave()

    def unreached(self, error: Unreachable) -> None:
        """Nobody listens there: the request had no part in that."""
        if not self.over and self.replica is not None:
            self._failed(str(error), blamed=False)

    def move(self, reason: str) -> None:
        """The replica is gone: go on elsewhere."""
        if not self.over and self.replica is not None:
            self._failed(reason)

    def _on_status(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        if HEADER not in headers:
            self._leave_part()

    def _on_data(self, data: bytes) -> None:
        replica = self.replica
        if replica is None:  # what comes after the end
            return
        if self._status != 200:
            self._rest += data
            return
        now = time.monotonic()
        replica.answered_s = replica.stepped_s = now
        self.take(data, now)

    def take(self, data: bytes, now: float) -> None:
        """Events of the answer, as they come."""
        replica = self.replica
        assert replica is not None
        if self._put is not None and self._pass_on(data, replica, now, self._put):
            return
        if not self._rest and data.find(b"\n\n") == len(data) - 2:
            self._event(data, replica, now)  # as it nearly always is: one event
            return
        self._rest = data = self._rest + data
        start = 0
        while (end := data.find(b"\n\n", start) + 2) > 1:
            event, start = data[start:end], end
            if event.startswith(b"data: "):
                self._event(event, replica, now)
                if self.replica is not replica:  # it said that it failed
                    return
        self._rest = data[start:]

    def _pass_on(
        self, data: bytes, replica: Replica, now: float, put: Callable[[bytes], None]
    ) -> bool:
        """The way of nearly all tokens, as short as may be: one event with one id, to the journal and on."""
        size = len(data)
        found = data[data.rfind(IDS) + IDS_SIZE : size - TAIL_SIZE]
        if not found.isdigit() or data.find(b"\n\n") != size - 2 or self._rest:
            return False
        line = self.line
        line.ids.append(int(found))
        replica.tokens += 1
        count = line.base + len(line.ids)
        self._last_s = now
        if count - self._timed_at >= TIMED_TOKENS:
            self._time(replica)
        event = b"%b%d\n%b" % (self.record.head, count, data)
        put(b"%x\r\n%b\r\n" % (len(event), event))
        return True

    def _event(self, event: bytes, replica: Replica, now: float) -> None:
        if replica.pool.kind != "cordee" and event != DONE and not is_error(event):
            self._of_others(event, replica, now)
            return
        ids = ids_in(event)
        if ids is not None:
            self._live(replica, now)
            self.line.ids.extend(ids)
            replica.tokens += len(ids)
            self.keeper.say(self, event)
            record = self.record
            if record.whole is None and len(record.lines) == 1:
                self._put = record.exchange.put
        elif event == DONE:
            self._end(whole=True)
        elif is_error(event):
            self._told_error(event)
        elif has_usage(event):
            self._count(event)
        else:
            self._settle()
            self.keeper.say(self, event)

    def _of_others(self, event: bytes, replica: Replica, now: float) -> None:
        """A chunk of an engine that knows nothing of continuations."""
        if is_broken_off(event):
            self._failed("broke off the answer")
            return
        if self.foreign is None:
            self.foreign = Foreign(self.record, self.line)
        if has_usage(event):
            self._count(event)
        chunk = decoded(event)
        if not chunk.get("choices"):
            return
        before, seam = len(self.line.ids), self.seam
        try:
            for part in (chunk,) if seam is None else seam.chunks(chunk):
                told = self.foreign.take(part)
                if told is not None:
                    self._live(replica, now)
                    self.keeper.say(self, told)
        except Differs as error:
            self.over = True
            self._leave()
            self.keeper.not_continued(self, str(error))
            return
        replica.tokens += len(self.line.ids) - before
        if seam is not None and seam.over:
            self._end()  # maybe by a stop string, of which the replica does not know

    def _end(self, *, whole: bool = False) -> None:
        """The choice is at its end; `whole`: so is what the replica says of it."""
        if self.seam is not None:
            self.line.prompt_tokens, self.line.completion_tokens = self.seam.usage
        self.line.finished = self.over = True
        self._leave(whole=whole)
        self.keeper.ended(self)

    def _live(self, replica: Replica, now: float) -> None:
        """A token came."""
        if self._first:
            self._first = False
            self._settle()
            replica.breaker.succeeded()
            replica.first_tokens_s.append(now - self._began_s)
            self.failures = 0
            if self.leg is not None:
                self.leg.first_s = now
            self._timed_s, self._timed_at = now, self.line.said + 1
        if self.gap is not None:
            self.keeper.resumed(self, self.gap, replica, now - self.gap.began_s)
            self.gap = None
        self._last_s = now
        if self.line.said - self._timed_at >= TIMED_TOKENS:
            self._time(replica)

    def _time(self, replica: Replica) -> None:
        """Note what a token has taken since this was noted last: those that came together share their time."""
        count = self.line.said - self._timed_at
        if count > 0:
            replica.per_token_s.append((self._last_s - self._timed_s) / count)
            self._timed_s, self._timed_at = self._last_s, self.line.said

    def _count(self, event: bytes) -> None:
        usage, line = usage_in(event), self.line
        line.prompt_tokens, line.cached_tokens = usage["prompt"], usage["cached"]
        line.completion_tokens = usage["completion"]

    def _told_error(self, event: bytes) -> None:
        error = msgspec.json.decode(event[len(b"data: ") :])["error"]
        if is_servers(error):
            self._failed(str(error.get("message", "an error of the server")))
            return
        self.over = True
        self._leave()
        self.keeper.refused(self, 400, event[len(b"data: ") :].strip())

    def _on_end(self, error: Unreachable | None) -> None:
        if error is not None:
            self._failed(str(error))
        elif self._status in ELSEWHERE:
            self._failed(f"answered {self._status}: {_message(self._rest)}")
        elif self._status != 200:
            self.over = True
            self._leave()
            self.keeper.refused(self, self._status, self._rest)
        elif not self.over and self.part is None:  # else the end is still on its way
            self._failed("ended the stream in the middle of an answer")

    def _failed(self, reason: str, *, blamed: bool = True) -> None:
        replica = self.replica
        assert replica is not None
        among = replica.fell(time.monotonic())
        self.failures += blame(among) if blamed else 0
        self.line.moved = True
        if self.leg is not None:
            self.leg.reason = reason
        if self.foreign is not None and self.foreign.finished:
            self._end()  # only the word that it was the end is missing
            return
        self._leave()
        self.avoid = replica
        if self.gap is None:
            self.gap = Gap(replica.name, reason, self._last_s, self.line.said)
        self.keeper.failed(self, replica, reason)

    def _leave(self, *, whole: bool = False) -> None:
        replica, self.replica = self.replica, None
        stream, self.stream = self.stream, None
        self._leave_part()
        if stream is not None and not stream.ended:
            stream.forget() if whole else stream.abort()
        if replica is not None:
            if not self._first:
                self._time(replica)
            if self.leg is not None:
                self.leg.ended_s = time.monotonic()
                self.leg.ids = self.line.said - self.leg.begins_at
            self.keeper.leave(self, replica)
        if self.over and self.rival is not None:
            self.rival.stop()

    def _leave_part(self) -> None:
        part, self.part = self.part, None
        if part is not None:
            part.leave()


def _message(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def gone_error(reason: str) -> ApiError:
    """What a client is told whose request no replica can go on with."""
    return ApiError(503, f"no replica could answer: {reason}", retry_after_s=1)
