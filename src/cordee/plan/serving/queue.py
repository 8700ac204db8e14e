"""The queue of a deployment, event by event: requests come, go to copies, and are handed on between them.

Prompts read apart: Zhong et al., arxiv.org/abs/2401.09670.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from cordee.plan.serving.replica import Replica, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Stations:
    """Where requests go: copies that do both, or copies for prompts and copies for tokens."""

    decode: Sequence[Replica]
    prefill: Sequence[Replica] = ()
    transfer_s: Callable[[int], float] = field(default=lambda prompt: 0.0)
    """How long keys and values of a prompt travel."""
    request_s: float = 0.0
    """Of a request before its first pass."""
    crowd_s: float = 0.0
    """The same for each other request of its copy."""


class Simulation:
    """Runs requests through stations. With `clients`, each sends its next request when it has its answer."""

    def __init__(
        self, stations: Stations, requests: Sequence[Request], clients: int | None
    ) -> None:
        self.stations = stations
        self.requests = requests
        self._events: list[tuple[float, int, str, object]] = []
        self._order = count()
        self._next = 0
        self._inside = 0
        self._clients = clients
        if clients is None:
            for request in requests:
                self._at(request.arrival_s, "arrive", request)
        else:
            for _ in range(min(clients, len(requests))):
                self._send(0.0)

    def run(self) -> Sequence[Request]:
        """All requests, each with its times."""
        while self._events:
            now_s, _, kind, what = heapq.heappop(self._events)
            if kind == "arrive":
                others = self._inside / len(self.stations.decode)
                self._inside += 1
                delay_s = self.stations.request_s + self.stations.crowd_s * others
                self._at(now_s + delay_s, "come", what)
            elif kind == "come":
                assert isinstance(what, Request)
                first = self.stations.prefill or self.stations.decode
                self._queue(min(first, key=lambda replica: replica.load), what, now_s)
            elif kind == "hand on":
                assert isinstance(what, Request)
                self._hand_on(what, now_s)
            else:
                assert isinstance(what, tuple)
                replica, version = what
                if replica.version == version:
                    self._ended(replica, now_s)
        return self.requests

    def _at(self, when_s: float, kind: str, what: object) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), kind, what))

    def _send(self, now_s: float) -> None:
        if self._next < len(self.requests):
            request = self.requests[self._next]
            self._next += 1
            request.arrival_s = now_s
            self._at(now_s, "arrive", request)

    def _queue(self, replica: Replica, request: Request, now_s: float) -> None:
        request.ready_s = now_s
        replica.waiting.append(request)
        if replica.busy_until <= now_s:
            self._begin(replica, now_s)
        elif (sooner := replica.cut(now_s)) is not None:
            self._plan(replica, sooner)

    def _begin(self, replica: Replica, now_s: float) -> None:
        ends = replica.begin(now_s)
        if ends is not None:
            self._plan(replica, ends)

    def _plan(self, replica: Replica, ends_s: float) -> None:
        replica.version += 1
        replica.busy_until = ends_s
        self._at(ends_s, "end", (replica, replica.version))

    def _ended(self, replica: Replica, now_s: float) -> None:
        first, through = replica.end(now_s)
        if not replica.rules.gives:
            for request in first:
                self._at(now_s + self.stations.transfer_s(request.prompt), "hand on", request)
        self._inside -= len(through)
        for _ in through:
            if self._clients is not None:
                self._send(now_s)
        self._begin(replica, now_s)

    def _hand_on(self, request: Request, now_s: float) -> None:
        """A prompt that was read elsewhere: its keys and values are here, or wait for room."""
        replica = min(self.stations.decode, key=lambda one: one.load)
        self._queue(replica, request, now_s)
