"""An engine without a model, for tests and benchmarks of what stands before engines.

`python -m cordee.serve.mock --port P --tokens-per-s R`: every stream gets tokens at this rate, which are drawn
from the request's seed and their positions. Continuations are kept as any engine of ours keeps them. SIGUSR1: its
chip hangs, so that no token comes, while it answers all else; SIGUSR2: it goes on.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import click
import msgspec

from cordee.core.http.exchange import Exchange
from cordee.core.http.loop import run
from cordee.core.http.server import Listener, listen
from cordee.serve import bundle
from cordee.serve.api.errors import ApiError
from cordee.serve.api.requests import Chat, Completion, Continuation, parse
from cordee.serve.api.whole import Whole

VOCABULARY = 50_000
TOKENS = 64
DONE = b"data: [DONE]\n\n"
WAIT = "wait"
"""A prompt whose first token is late where --wait-s says so."""


@dataclass(slots=True, eq=False)
class Line:
    """One stream."""

    exchange: Exchange
    chat: bool
    head: bytes
    key: bytes
    tokens: int
    at: int
    whole: Whole | None
    from_s: float = 0.0
    """On the loop's clock: no token before that."""


class Mock:
    """Answers with tokens at a steady rate."""

    def __init__(self, tokens_per_s: float, together: int, wrong_after: int, wait_s: float) -> None:
        """`together`: so many tokens are said at a time, as where some were guessed."""
        self.tokens_per_s, self.together = tokens_per_s, together
        self.wrong_after, self.wait_s = wrong_after, wait_s
        self.lines: set[Line] = set()
        self.steps = 0
        self.hangs = False
        self.bundles = bundle.Bundles()
        self.generation = os.urandom(6).hex()

    def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            if exchange.path == "/v1/chat/completions":
                self._begin(exchange, parse(exchange.body, Chat), chat=True)
            elif exchange.path == "/v1/completions":
                self._begin(exchange, parse(exchange.body, Completion), chat=False)
            elif exchange.path == bundle.PATH:
                self.bundles.open(exchange)
            elif exchange.path == "/cordee/engine":
                exchange.send(200, msgspec.json.encode(self._state()))
            elif exchange.path == "/metrics":
                exchange.send(200, self._metrics(), "text/plain")
            elif exchange.path in ("/health", "/v1/models"):
                exchange.send(200, b'{"object":"list","data":[{"id":"mock","object":"model"}]}')
            else:
                exchange.fail(404, f"there is no {exchange.path}")
        except ApiError as error:
            exchange.send(error.status, error.body())

    def _begin(self, exchange: Exchange, request: Chat | Completion, *, chat: bool) -> None:
        given = request.cordee or Continuation()
        prompt = request.messages if isinstance(request, Chat) else request.prompt
        key = msgspec.json.encode([prompt, request.seed])
        asked = request.max_tokens
        if isinstance(request, Chat) and request.max_completion_tokens is not None:
            asked = request.max_completion_tokens
        head = {
            "id": given.request_id or "mock-1",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": given.created,
            "model": request.model or "mock",
        }
        line = Line(
            exchange,
            chat,
            b"data: " + msgspec.json.encode(head)[:-1] + b',"choices":[{"index":%d,' % given.index,
            blake2b(key, digest_size=8).digest(),
            TOKENS if asked is None else asked,
            given.said,
            None if request.stream else Whole(),
        )
        if prompt == WAIT:
            line.from_s = asyncio.get_running_loop().time() + self.wait_s
        if line.whole is None:
            self.bundles.join(exchange)
            exchange.start(200)
        exchange.when_gone(lambda: self.lines.discard(line))
        self.lines.add(line)

    async def run(self) -> None:
        """Tokens for every stream, then the next ones."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self.together / self.tokens_per_s
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self.hangs:
                continue
            self.steps += bool(self.lines)
            for line in [line for line in self.lines if line.from_s <= due]:
                for _ in range(self.together):
                    if line in self.lines:
                        self._say(line)

    def _say(self, line: Line) -> None:
        if line.at < line.tokens:
            token = token_at(line.key, line.at)
            if self.wrong_after and line.at >= self.wrong_after:
                token = (token + 1) % VOCABULARY
            line.at += 1
            last = line.at == line.tokens
            self._put(line, chunk(line, token, finish=b'"length"' if last else b"null"))
            if not last:
                return
        self.lines.discard(line)
        usage = b'"usage":{"prompt_tokens":1,"completion_tokens":%d,"total_tokens":%d}}\n\n'
        head = line.head.partition(b'"choices":[')[0]
        self._put(line, head + b'"choices":[],' + usage % (line.at, line.at + 1))
        if line.whole is not None:
            line.exchange.send(200, msgspec.json.encode(line.whole.response()))
            return
        line.exchange.write(DONE)
        line.exchange.finish()

    def _put(self, line: Line, event: bytes) -> None:
        if line.whole is None:
            line.exchange.write(event)
        else:
            line.whole.add_event(event[len(b"data: ") :])

    def _state(self) -> dict[str, object]:
        return {
            "model": "mock",
            "numerics": "mock",
            "generation": self.generation,
            "steps": self.steps,
            "running": len(self.lines),
            "waiting": 0,
            "kv_blocks": 1,
            "kv_blocks_free": 1,
        }

    def _metrics(self) -> bytes:
        """As vLLM tells them."""
        told = {"num_requests_running": len(self.lines), "iteration_tokens_total_count": self.steps}
        return "".join(f'vllm:{name}{{engine="0"}} {told[name]}\n' for name in told).encode()

    def hang(self, hangs: bool) -> None:
        """Whether no token comes from now on."""
        self.hangs = hangs


def token_at(key: bytes, position: int) -> int:
    """The token of a stream at a position."""
    made = blake2b(key + position.to_bytes(4, "little"), digest_size=4).digest()
    return int.from_bytes(made, "little") % VOCABULARY


def chunk(line: Line, token: int, finish: bytes) -> bytes:
    """The event of one token, as an engine writes it."""
    text = b'"w%d "' % token
    inner = b'"delta":{"content":' + text + b"}" if line.chat else b'"text":' + text
    return (
        line.head
        + inner
        + b',"logprobs":null,"finish_reason":%s,"token_ids":[%d]}]}\n\n'
        % (
            finish,
            token,
        )
    )


@click.command()
@click.option("--host", default="127.0.0.1")
@click.option("--port", default=0)
@click.option("--tokens-per-s", default=50.0, show_default=True)
@click.option("--together", default=1, show_default=True, help="So many at a time.")
@click.option("--wrong-after", default=0, help="Wrong tokens from this position on; 0: none.")
@click.option("--wait-s", default=0.0, help=f"How late the first token of the prompt {WAIT!r} is.")
@click.option("--model", default="", help="Taken, so that it starts as other engines do.")
def main(host: str, port: int, model: str, **how: Any) -> None:
    """Serve nonsense at a steady rate."""
    run(_serve(Mock(**how), host, port))


async def _serve(mock: Mock, host: str, port: int) -> None:
    listener: Listener = await listen(mock.handle, host, port)
    sys.stdout.write(json.dumps({"ready": {"port": listener.port}}) + "\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, os._exit, 0)
    loop.add_signal_handler(signal.SIGUSR1, mock.hang, True)
    loop.add_signal_handler(signal.SIGUSR2, mock.hang, False)
    await mock.run()


if __name__ == "__main__":
    main()
