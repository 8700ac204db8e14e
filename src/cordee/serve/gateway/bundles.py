"""Bundles of replicas: one connection to each, on which it tells the tokens of all its requests."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cordee.core.http.client import Client, Stream, Unreachable
from cordee.serve.bundle import HEADER, PATH, frames
from cordee.serve.gateway.fleet import Replica

Told = Callable[[bytes, float], None]
"""Takes a piece of an answer and when it came, on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Line:
    """One request's part of a bundle."""

    bundle: "Bundle"
    number: bytes
    told: Told
    broke: Callable[[str], None]

    @property
    def headers(self) -> Mapping[str, str]:
        return {HEADER: f"{self.bundle.name} {self.number.decode()}"}

    def leave(self) -> None:
        """Nothing is told any more."""
        self.bundle.lines.pop(self.number, None)


@dataclass(slots=True, eq=False)
class Bundle:
    """The connection to one replica."""

    replica: Replica
    url: str
    closed: Callable[["Bundle", str], None]
    name: str = ""
    """What the replica calls it; none while it is not open."""
    lines: dict[bytes, Line] = field(default_factory=dict)
    refused: bool = False
    """Whether the replica knows no bundles."""
    _last: int = 0

    def join(self, told: Told, broke: Callable[[str], None]) -> Line:
        """A request that is to be answered here."""
        self._last += 1
        number = b"%d" % self._last
        line = self.lines[number] = Line(self, number, told, broke)
        return line

    async def open(self, client: Client) -> None:
        stream = Stream(self._head, self._data, self._end)
        try:
            await client.begin(stream, self.url + PATH, method="GET")
        except Unreachable as error:
            self._end(error)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.name = headers.get(HEADER, "") if status == 200 else ""
        self.refused = not self.name

    def _data(self, block: bytes) -> None:
        if not self.name:
            return
        now, lines = time.monotonic(), self.lines
        self.replica.answered_s = self.replica.stepped_s = now
        for number, data in frames(block):
            line = lines.get(number)
            if line is not None:
                line.told(data, now)

    def _end(self, error: Unreachable | None) -> None:
        self.name = ""
        self.closed(self, str(error or "the replica closed its connection"))


class Bundles:
    """Those of all replicas."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._of: dict[str, Bundle] = {}
        self._opening: set[asyncio.Task[None]] = set()

    def of(self, replica: Replica) -> Bundle | None:
        """The bundle of a replica, once it is open. Until then, requests have their own connections."""
        if replica.pool.kind != "cordee":
            return None
        bundle = self._of.get(replica.url)
        if bundle is None:
            bundle = self._of[replica.url] = Bundle(replica, replica.url, self._closed)
            task = asyncio.get_running_loop().create_task(bundle.open(self._client))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return bundle if bundle.name else None

    def _closed(self, bundle: Bundle, reason: str) -> None:
        if not bundle.refused:
            self._of.pop(bundle.url, None)
        lines, bundle.lines = list(bundle.lines.values()), {}
        for line in lines:
            line.broke(reason)
