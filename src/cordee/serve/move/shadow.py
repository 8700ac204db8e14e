"""Copies of requests for another pool, and what it makes of them; clients never wait for it."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cordee.core.http.client import Client, Stream, Unreachable
from cordee.serve.gateway.fleet import Answered, Fleet, Replica
from cordee.serve.gateway.record import COMPLETIONS
from cordee.serve.gateway.wire import ids_in
from cordee.serve.move.comparison import Comparison, distances, first_difference

AT_ONCE = 8
WAITING_MOST = 64
TIMEOUT_S = 120.0


@dataclass(slots=True)
class Copy:
    """A request that is to be asked again elsewhere."""

    name: str
    path: str
    body: dict[str, Any]
    pool: str


@dataclass(slots=True)
class Heard:
    """The answer of the other pool."""

    ids: list[int] = field(default_factory=list)
    prompt_ids: list[int] = field(default_factory=list)
    text: str = ""
    first_s: float = 0.0
    whole_s: float = 0.0
    error: str | None = None


class Shadow:
    """Asks the pool `other` what clients asked the rest, and compares."""

    def __init__(
        self,
        fleet: Fleet,
        other: Callable[[str], str | None],
        heard: Callable[[str, Heard, Answered, Comparison], None],
        differences: Path,
        share: float,
    ) -> None:
        """`other`: the pool that a request of a pool is copied to, if any."""
        self._fleet, self._other, self._heard = fleet, other, heard
        self._differences, self.share = differences, share
        self._client = Client()
        self._copies: dict[str, Copy] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._due = 0.0
        self._count = 0

    def copy(self, path: str, body: dict[str, object], pool: str) -> str | None:
        """A request begins. Copied is an even share of them, as long as few wait."""
        self._due += self.share
        if self._other(pool) is None or self._due < 1 or len(self._tasks) > WAITING_MOST:
            return None
        self._due -= 1
        self._count += 1
        name = f"copy-{self._count}"
        self._copies[name] = Copy(name, path, dict(body), pool)
        return name

    def answered(self, name: str, answer: Answered) -> None:
        """The client has its answer: now the other pool is asked."""
        copy = self._copies.pop(name, None)
        other = self._other(copy.pool) if copy is not None else None
        if copy is None or other is None or answer.error is not None or not answer.ids:
            return
        task = asyncio.get_running_loop().create_task(self._compare(copy, answer, other))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, copy: Copy, answer: Answered, other: str) -> None:
        async with self._places:
            replica, own = self._ready(other), self._ready(copy.pool)
            if replica is None or own is None:
                return
            heard = await self._ask(replica, copy)
            place = first_difference(answer.ids, heard.ids)
            distance = mean = None
            if place is not None and heard.error is None and heard.prompt_ids:
                distance, mean = await self._distance(own, replica, heard, answer, place)
            comparison = Comparison(
                request=copy.name,
                exact=place is None and heard.error is None,
                divergence=place,
                distance=distance,
                mean_distance=mean,
                lengths=(len(answer.ids), len(heard.ids)),
                whole_s=(answer.whole_s, heard.whole_s),
                refusal=heard.error,
                texts=("", heard.text),
            )
        if not comparison.exact:
            self._keep(copy, answer, heard, comparison)
        self._heard(other, heard, answer, comparison)

    def _ready(self, pool: str) -> Replica | None:
        found = [r for r in self._fleet.replicas() if r.pool.name == pool and r.state == "ready"]
        return min(found, key=lambda r: r.running) if found else None

    async def _ask(self, replica: Replica, copy: Copy) -> Heard:
        heard, began = Heard(), time.monotonic()
        done: asyncio.Future[Unreachable | None] = asyncio.get_running_loop().create_future()
        status, rest = 0, b""

        def began_with(code: int, _: object) -> None:
            nonlocal status
            status = code

        def data(piece: bytes) -> None:
            nonlocal rest
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                _hear(heard, event, began)

        stream = Stream(began_with, data, done.set_result)
        body = copy.body | {"model": replica.pool.model}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._client.begin(
                    stream, replica.url + copy.path, body=msgspec.json.encode(body)
                )
                error = await done
        except (TimeoutError, Unreachable) as failure:
            stream.abort()
            heard.error = str(failure) or "no answer in time"
            return heard
        heard.whole_s = time.monotonic() - began
        if error is not None:
            heard.error = str(error)
        elif status != 200:
            heard.error = f"answered {status}: {rest[:200].decode('utf-8', 'replace')}"
        return heard

    async def _distance(
        self, own: Replica, other: Replica, heard: Heard, answer: Answered, place: int
    ) -> tuple[float | None, float | None]:
        """How differently both pools see the tokens of the client's answer."""
        ids = [*heard.prompt_ids, *answer.ids]
        scores = [
            await self._scores(replica, ids, len(heard.prompt_ids)) for replica in (own, other)
        ]
        found = distances(scores[0], scores[1])
        if not found:
            return None, None
        return found[min(place, len(found) - 1)], sum(found) / len(found)

    async def _scores(self, replica: Replica, ids: list[int], first: int) -> list[float | None]:
        body = {
            "model": replica.pool.model,
            "prompt": ids,
            "max_tokens": 0,
            "echo": True,
            "logprobs": 0,
        }
        try:
            reply = await self._client.request(
                replica.url + COMPLETIONS,
                method="POST",
                body=msgspec.json.encode(body),
                timeout_s=TIMEOUT_S,
            )
            told = msgspec.json.decode(reply.body)
            scores: list[float | None] = told["choices"][0]["logprobs"]["token_logprobs"]
        except (Unreachable, msgspec.DecodeError, KeyError, TypeError, IndexError):
            return []
        return scores[first:]

    def _keep(self, copy: Copy, answer: Answered, heard: Heard, found: Comparison) -> None:
        entry = asdict(found) | {
            "agrees": found.agrees,
            "pools": [answer.pool, self._other(copy.pool)],
            "asked": copy.body.get("messages") or copy.body.get("prompt"),
            "ids": [list(answer.ids), heard.ids],
        }
        with self._differences.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")


def _hear(heard: Heard, event: bytes, began: float) -> None:
    if not event.startswith(b"data: {"):
        return
    ids = ids_in(event + b"\n\n")
    chunk = msgspec.json.decode(event[6:])
    if "error" in chunk:
        heard.error = str(chunk["error"].get("message"))
        return
    if chunk.get("prompt_token_ids"):
        heard.prompt_ids = chunk["prompt_token_ids"]
    if ids:
        if not heard.ids:
            heard.first_s = time.monotonic() - began
        heard.ids += ids
    for choice in chunk.get("choices", ()):
        heard.text += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
