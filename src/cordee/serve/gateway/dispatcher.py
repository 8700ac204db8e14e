"""Places relays on replicas, moves them when replicas fail, and answers their clients."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from cordee.core.http.client import Client, Stream, Unreachable
from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.bundles import Bundles
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.events import Events
from cordee.serve.gateway.fleet import RECENT, Answered, Fleet, Mirror, Replica
from cordee.serve.gateway.hedges import Hedges
from cordee.serve.gateway.record import Outcome, Record
from cordee.serve.gateway.relay import Gap, Relay, gone_error
from cordee.serve.gateway.rival import Rival
from cordee.serve.gateway.rooms import Rooms
from cordee.serve.gateway.wire import DONE, usage_event
from cordee.serve.policy.admission import Queue, refused, retry_after_s
from cordee.serve.policy.failover import after_failure
from cordee.serve.policy.routing import pieces

RATE_S = 10.0


@dataclass(slots=True)
class Totals:
    """What became of requests."""

    ok: int = 0
    failed: int = 0
    rejected: int = 0
    failovers: int = 0
    probes: int = 0
    """Rounds in which replicas were compared."""


class Dispatcher:
    """All requests under way."""

    def __init__(
        self, config: GatewayConfig, fleet: Fleet, events: Events, mirror: Mirror | None
    ) -> None:
        self.config, self.fleet, self.events, self.mirror = config, fleet, events, mirror
        self.client = Client(connect_s=2.0)
        self.bundles = Bundles(self.client)
        self.finished: Callable[[Record], None] = lambda record: None
        """Is told of every request that is over, whatever became of it."""
        self.totals = Totals()
        self.on_replica: dict[Replica, set[Relay | Rival]] = {}
        self.active: dict[Record, list[Relay]] = {}
        self.rooms = Rooms(config, fleet)
        self.hedges = Hedges(config, self.rooms, self)
        self._waiting: Queue[Relay] = Queue(10**9)  # bounded by `admit`
        self.first_tokens: deque[tuple[float, str, float]] = deque(maxlen=RECENT)
        """When they came, in which pool, and how long their clients waited."""
        self._ends_s: list[float] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def queued_for(self, pool: str) -> int:
        """How many wait for a replica of a pool."""
        return sum(relay.record.pool == pool for relay in self._waiting)

    def admit(self, record: Record) -> None:
        """Begin with a request. Raises `ApiError` 503 where too many wait."""
        if refused(len(self._waiting), self.config.max_queue, free=self.rooms.free()):
            self.totals.rejected += 1
            rate = len(self._ends_s) / RATE_S
            raise ApiError(
                503,
                "too many requests wait",
                code="overloaded",
                retry_after_s=retry_after_s(len(self._waiting), rate),
            )
        self.rooms.choose_pool(record)
        relays = [Relay(self, record, line) for line in record.lines if not line.finished]
        self.active[record] = relays
        record.exchange.when_gone(lambda: self.abandon(record))
        if self.mirror is not None:
            record.mirrored = self.mirror.copy(record.path, record.lines[0].body, record.pool)
        for relay in relays:
            self.place(relay)

    def abandon(self, record: Record) -> None:
        """The client went away; it may come back for the rest."""
        if record in self.active:
            self._drop(record)
            self._over(record, "gone")
        record.over = True

    # What relays call.

    def place(self, relay: Relay) -> None:
        replica = self.rooms.place_for(relay)
        if replica is None:
            if relay.waiting_since_s is None:
                relay.waiting_since_s = time.monotonic()
            self._waiting.put(relay, relay.record.rank(relay.line))
            return
        self.enter(relay, relay.record, replica)
        relay.start(replica)
        if self.config.hedge:
            self.hedges.watch(relay, replica)

    def enter(self, asking: Relay | Rival, record: Record, replica: Replica) -> None:
        replica.running += 1
        replica.breaker.begin(time.monotonic())
        replica.memory.see(pieces(record.prompt))
        self.on_replica.setdefault(replica, set()).add(asking)

    def begin(self, asking: Relay | Rival, url: str, stream: Stream, body: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._begin(asking, url, stream, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, asking: Relay | Rival, url: str, stream: Stream, body: bytes) -> None:
        if stream.ended:
            return
        if isinstance(asking, Rival):
            headers = asking.headers
        else:
            assert asking.replica is not None  # else its stream were ended
            headers = self._headers(asking, asking.replica)
        try:
            await self.client.begin(stream, url, body=body, headers=headers)
        except Unreachable as error:
            if not stream.ended:
                asking.unreached(error)

    def _headers(self, relay: Relay, replica: Replica) -> Mapping[str, str]:
        headers: Mapping[str, str] = {}
        bundle = self.bundles.of(replica)
        if bundle is not None:
            relay.part = bundle.join(relay.take, relay.move)
            headers = relay.part.headers
        if relay.record.trace is not None and relay.leg is not None:
            relay.leg.span = relay.record.trace.below()
            headers = {**headers, **relay.record.trace.headers(relay.leg.span)}
        return headers

    def say(self, relay: Relay, event: bytes) -> None:
        record = relay.record
        if record.first_s is None:
            now = time.monotonic()
            record.first_s = now - record.began_s
            self.first_tokens.append((now, record.pool, record.first_s))
        if record.whole is not None:
            record.whole.add_event(event[len(b"data: ") :])
            return
        exchange = record.exchange
        if not exchange.started:
            exchange.start(200, headers={"X-Request-Id": record.id})
        head = record.position()
        if record.traces and relay.replica is not None and record.spoke != relay.replica.name:
            record.spoke = relay.replica.name
            head = b": replica " + record.spoke.encode() + b"\n" + head
        exchange.write(head + event)

    def resumed(self, relay: Relay, gap: Gap, replica: Replica, gap_s: float) -> None:
        self.totals.failovers += 1
        self.events.moved(
            gap.replica,
            {
                "id": relay.record.id,
                "ids_said": gap.ids,
                "to": replica.name,
                "gap_s": round(gap_s, 3),
                "exact": True,  # else it would not have gone on
            },
        )

    def ended(self, relay: Relay) -> None:
        record = relay.record
        relays = self.active.get(record, [])
        if not relays or not all(line.finished for line in record.lines):
            return
        del self.active[record]
        self._finish(record)

    def not_continued(self, relay: Relay, reason: str) -> None:
        told = f"a replica failed, and the answer did not come again elsewhere: {reason}"
        self.give_up(relay.record, ApiError(503, told, code="not_continued"))

    def refused(self, relay: Relay, status: int, body: bytes) -> None:
        record = relay.record
        self._drop(record)
        record.error = f"refused with {status}"
        self.totals.ok += 1  # it was answered: what the client asked for was wrong
        self._over(record, "refused")
        if record.exchange.started:
            record.exchange.write(b"data: " + body + b"\n\n")
            record.exchange.finish()
        else:
            record.exchange.send(status, body)

    def failed(self, relay: Relay, replica: Replica, reason: str) -> None:
        self.broke(replica, reason)
        if relay.rival is not None:  # it has been asked already
            relay.adopt(relay.rival)
            return
        others = [r for r in self.rooms.candidates(relay.record) if r is not replica]
        what = after_failure(
            others=len(others),
            waited_s=0.0,
            failures=relay.failures,
            patience_s=self.config.patience_s,
        )
        if what.kind == "give-up":
            self.give_up(relay.record, gone_error(f"{what.reason}; the last: {reason}"))
        else:
            self.place(relay)

    def broke(self, replica: Replica, reason: str) -> None:
        replica.breaker.failed(time.monotonic())
        self.events.failed(replica, reason)

    def adopted(self, relay: Relay, rival: Rival) -> None:
        guests = self.on_replica[rival.replica]
        guests.discard(rival)
        guests.add(relay)

    def leave(self, asking: Relay | Rival, replica: Replica) -> None:
        replica.running -= 1
        replica.breaker.left()
        self.on_replica.get(replica, set()).discard(asking)
        if len(self._waiting):
            self.pump()

    # What time brings.

    def pump(self) -> None:
        """Place those who wait, as far as there is room."""
        left = []
        for _ in range(len(self._waiting)):
            relay = self._waiting.pop()
            if relay is None:
                break
            if relay.over:
                continue
            if self.rooms.place_for(relay) is None:
                left.append(relay)
                break
            self.place(relay)
        for relay in left:
            self._waiting.put(relay, relay.record.rank(relay.line))

    def tick(self, now_s: float) -> None:
        """Deadlines, patience, and whoever waits."""
        if self.mirror is not None:
            self.mirror.tick(now_s)
        self._ends_s = [end for end in self._ends_s if end > now_s - RATE_S]
        self.pump()
        for relay in list(self._waiting):
            record, since = relay.record, relay.waiting_since_s
            if record.deadline_s is not None and now_s > record.deadline_s:
                self.give_up(record, ApiError(504, "the deadline passed while the request waited"))
            elif since is not None and not self._ready() and now_s - since > self.config.patience_s:
                patience = self.config.patience_s
                self.give_up(record, gone_error(f"none was ready for {patience:.0f} s"))
        for record in list(self.active):
            if record.deadline_s is not None and now_s > record.deadline_s + 1.0:
                self.give_up(record, ApiError(504, "the answer was not whole in time"))

    def gone(self, replica: Replica, reason: str) -> None:
        """A replica is dead or hangs: all its requests go on elsewhere."""
        replica.memory.forget()
        self.events.failed(replica, reason)
        for relay in list(self.on_replica.get(replica, ())):
            relay.move(reason)

    def give_up(self, record: Record, error: ApiError) -> None:
        """Tell the client that it goes no further."""
        if record.over:
            return
        self._drop(record)
        record.error = error.message
        self.totals.failed += 1
        exchange = record.exchange
        if exchange.started:
            exchange.write(error.event())
            exchange.finish()
        else:
            exchange.send(error.status, error.body(), headers=error.headers)
        self._mirrored(record)
        self._over(record, "failed")

    def _over(self, record: Record, outcome: Outcome) -> None:
        record.over, record.outcome = True, outcome
        self.finished(record)

    def _drop(self, record: Record) -> None:
        record.over = True
        for relay in self.active.pop(record, []):
            self._waiting.remove(relay)
            relay.stop()

    def _finish(self, record: Record) -> None:
        record.over = True
        now = time.monotonic()
        self.totals.ok += 1
        self._ends_s.append(now)
        prompts = {str(line.body.get("prompt")): line.prompt_tokens for line in record.lines}
        prompt = sum(prompts.values())
        completion = sum(max(line.said, line.completion_tokens) for line in record.lines)
        cached = sum(line.cached_tokens for line in record.lines)
        usage = usage_event(record, prompt, completion, cached)
        exchange = record.exchange
        if record.whole is not None:
            record.whole.add_event(usage[len(b"data: ") :])
            body = msgspec.json.encode(record.whole.response(with_ids=record.wants_ids))
            exchange.send(200, body, headers={"X-Request-Id": record.id})
        else:
            if not exchange.started:
                exchange.start(200, headers={"X-Request-Id": record.id})
            exchange.write((usage if record.wants_usage else b"") + DONE)
            exchange.finish()
        self._mirrored(record)
        self._over(record, "ok")

    def _mirrored(self, record: Record) -> None:
        if self.mirror is not None and record.mirrored is not None:
            whole_s = time.monotonic() - record.began_s
            ids = tuple(record.lines[0].ids)
            first_s = record.first_s if record.first_s is not None else whole_s
            self.mirror.answered(
                record.mirrored, Answered(record.pool, ids, first_s, whole_s, record.error)
            )

    def _ready(self) -> bool:
        return any(replica.state == "ready" for replica in self.fleet.replicas())
