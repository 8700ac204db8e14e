"""Some seconds of a service, request by request, around the fall of a replica: every decision is one of the gateway's.

Routing, circuits, who waits and who is refused, when a replica counts as gone and what becomes of its requests are
`cordee.serve.policy`; what is modelled are times: how long a request stays, how long its prompt is read anew.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

from cordee.plan.goodput.service.service import Service, Sign
from cordee.serve.policy.admission import QUEUE_MOST, REQUEST_TIMEOUT_S, Queue, rank, refused
from cordee.serve.policy.breaker import Breaker
from cordee.serve.policy.failover import (
    OTHERS,
    OWN,
    PROBE_S,
    Signs,
    after_failure,
    blame,
    hangs,
)
from cordee.serve.policy.routing import Candidate, pick

TICK_S = 0.05


@dataclass(slots=True, eq=False)
class Asking:
    """A request under way."""

    came_s: float
    left: float = 1.0
    """Of its answer, the part that is to come."""
    turn: int = 0
    """Changes when it moves: its end that was foreseen is void."""
    began_s: float = 0.0
    broke_s: float | None = None
    """When nothing came any more."""
    failures: float = 0.0
    """How much the ends of replicas speak against it."""
    waits_since_s: float | None = None


@dataclass(slots=True, eq=False)
class Seat:
    """A replica as the gateway sees it."""

    name: str
    ready: bool = True
    falls_s: float | None = None
    """When it fell, whether that is noticed or not."""
    breaker: Breaker = field(default_factory=Breaker)
    asking: set[Asking] = field(default_factory=set)


class Window:
    """Replicas with requests under way; what happens to them, in time."""

    def __init__(self, service: Service, up: int, seed: int = 0) -> None:
        self.service, self.random = service, Random(seed)
        self.seats = [Seat(f"replica-{number:04}") for number in range(up)]
        self.now_s = 0.0
        self.came = self.refused = self.moved = self.broken_off = 0
        self.gaps_s: list[float] = []
        self._waiting: Queue[Asking] = Queue(10**9)  # bounded by `_arrives`
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        under_way = min(service.rate_per_s * service.stay_s, up * service.room)
        for _ in range(int(under_way)):
            self._place(Asking(0.0, left=self.random.random()))
        self._at(self._gap(), self._arrives)
        self._at(TICK_S, self._ticks)

    def run(self, until_s: float) -> None:
        """Let it happen until then."""
        while self._events[0][0] <= until_s:
            self.now_s, _, then = heapq.heappop(self._events)
            then()
        self.now_s = until_s

    def falls(self, number: int, sign: Sign) -> None:
        """Replicas of a node, the first so many, give nothing any more."""
        for seat in self.seats[:number]:
            seat.falls_s = self.now_s
            for asking in seat.asking:
                self._stops(asking)
                asking.broke_s = self.now_s
            if sign == "closed":
                self._gone(seat)
            elif (notice_s := noticed_s(sign, own=self.service.own_engine)) is not None:
                self._at(self.now_s + notice_s, partial(self._gone, seat))

    def close(self) -> None:
        """What is on replicas that nobody has noticed to be gone ends with the gateway's time limit."""
        for seat in self.seats:
            if seat.ready and seat.falls_s is not None:
                self.moved += len(seat.asking)
                self.broken_off += len(seat.asking)
                self.gaps_s += [REQUEST_TIMEOUT_S] * len(seat.asking)

    # What happens.

    def _at(self, when_s: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._number), then))

    def _gap(self) -> float:
        return self.now_s + self.random.expovariate(self.service.rate_per_s)

    def _arrives(self) -> None:
        self._at(self._gap(), self._arrives)
        self.came += 1
        if refused(len(self._waiting), QUEUE_MOST, free=bool(self._free())):
            self.refused += 1
            return
        self._place(Asking(self.now_s))

    def _free(self) -> list[Seat]:
        return [
            seat
            for seat in self.seats
            if seat.ready
            and len(seat.asking) < self.service.room
            and seat.breaker.allows(self.now_s)
        ]

    def _place(self, asking: Asking) -> None:
        free = {seat.name: seat for seat in self._free()}
        name = pick([Candidate(seat.name, len(seat.asking)) for seat in free.values()])
        if name is None:
            if asking.waits_since_s is None:
                asking.waits_since_s = self.now_s
            self._waiting.put(asking, rank(0, begun=asking.broke_s is not None))
            return
        asking.waits_since_s = None
        self._begins(asking, free[name])

    def _begins(self, asking: Asking, seat: Seat) -> None:
        seat.breaker.begin(self.now_s)
        seat.asking.add(asking)
        if seat.falls_s is not None:  # nobody has noticed: it waits there in vain
            asking.broke_s = self.now_s if asking.broke_s is None else asking.broke_s
            return
        service = self.service
        said = 1 - asking.left
        read_s = service.first_s * (1 + said * service.answer / service.prompt)
        if asking.broke_s is not None:
            self.gaps_s.append(self.now_s + read_s - asking.broke_s)
            asking.broke_s = None
        read_s = 0.0 if asking.came_s == 0.0 and self.now_s == 0.0 else read_s
        asking.began_s = self.now_s + read_s
        asking.turn += 1
        turn = asking.turn

        def ends() -> None:
            if asking.turn == turn:
                seat.breaker.succeeded()
                self._leaves(asking, seat)

        self._at(asking.began_s + asking.left * self._giving_s, ends)

    @property
    def _giving_s(self) -> float:
        return max(self.service.stay_s - self.service.first_s, 1e-6)

    def _leaves(self, asking: Asking, seat: Seat) -> None:
        seat.asking.discard(asking)
        seat.breaker.left()
        self._pump()

    def _stops(self, asking: Asking) -> None:
        """It got tokens until now."""
        got = max(0.0, self.now_s - asking.began_s) / self._giving_s
        asking.left = max(0.0, asking.left - got)
        asking.failures = 0.0 if got else asking.failures
        asking.turn += 1

    def _gone(self, seat: Seat) -> None:
        """The gateway knows: what was there goes on elsewhere."""
        seat.ready = False
        others = sum(other.ready for other in self.seats)
        moving = sorted(seat.asking, key=lambda one: (one.came_s, one.left))
        seat.asking.clear()
        for asking in moving:
            seat.breaker.failed(self.now_s)
            asking.failures += blame(len(moving))
            self.moved += 1
            what = after_failure(others=others, waited_s=0.0, failures=asking.failures)
            if what.kind == "give-up":
                self.broken_off += 1
            else:
                self._place(asking)

    def _pump(self) -> None:
        while len(self._waiting) and self._free():
            asking = self._waiting.pop()
            assert asking is not None
            self._place(asking)

    def _ticks(self) -> None:
        self._at(self.now_s + TICK_S, self._ticks)
        self._pump()
        if any(seat.ready for seat in self.seats):
            return
        waiting = list(self._waiting)
        longest_s = max(map(self._waited_s, waiting), default=0.0)
        failures = max((asking.failures for asking in waiting), default=0.0)
        if after_failure(others=0, waited_s=longest_s, failures=failures).kind == "wait":
            return  # as do those that have waited or failed less
        for asking in waiting:
            waited_s = self._waited_s(asking)
            what = after_failure(others=0, waited_s=waited_s, failures=asking.failures)
            if what.kind == "give-up":
                self._waiting.remove(asking)
                self.broken_off += asking.broke_s is not None
                self.refused += asking.broke_s is None

    def _waited_s(self, asking: Asking) -> float:
        return 0.0 if asking.waits_since_s is None else self.now_s - asking.waits_since_s


def noticed_s(sign: Sign, *, own: bool) -> float | None:
    """After how long the gateway takes a replica to be gone; None: it does not see it. Others' tell of their steps."""
    limits = OWN if own else OTHERS
    waited_s = 0.0
    while waited_s < REQUEST_TIMEOUT_S:
        waited_s += TICK_S
        signs = Signs(
            answered_s=PROBE_S / 2 + waited_s if sign == "silent" else PROBE_S / 2,
            stepped_s=waited_s,
            longest_step_s=TICK_S,
            busy=True,
        )
        if sign == "closed" or hangs(signs, limits):
            return waited_s
    return None
