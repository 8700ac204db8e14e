"""The engine's endpoints."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic

import msgspec
import numpy as np
from numpy.typing import NDArray

from cordee.core.http.exchange import METRICS, Exchange
from cordee.serve import bundle
from cordee.serve.api.errors import ApiError
from cordee.serve.api.requests import (
    Chat,
    Completion,
    Detokenize,
    Embeddings,
    Tokenize,
    parse,
    prompts_of,
)
from cordee.serve.engine.build import Identity
from cordee.serve.engine.choice import Told
from cordee.serve.engine.operators.table import BLOCK_TOKENS, A, C, W
from cordee.serve.engine.worker import Worker
from cordee.serve.replica.generation import Generation
from cordee.serve.replica.metrics import Metrics
from cordee.serve.replica.prefixes import PREFIXES, WARM, Prefixes
from cordee.serve.text.model import Model
from cordee.serve.text.wish import Wish
from cordee.serve.text.wishes import chat_wishes, completion_wishes, prompt_of

ANSWERS_MOST = 128


class Service(Generic[A, W, C]):
    """Answers HTTP requests with a worker's tokens."""

    def __init__(self, worker: Worker[A, W, C], model: Model, identity: Identity) -> None:
        self.worker, self.model, self.identity = worker, model, identity
        self.draining = False
        self.metrics = Metrics(worker, model.name)
        self._began_s = int(time.time())
        self._bundles = bundle.Bundles()
        self.prefixes = Prefixes(worker, identity.numerics)
        self._routes: dict[tuple[str, str], Callable[[Exchange], Awaitable[None] | None]] = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/completions"): self._completion,
            ("POST", "/v1/embeddings"): self._embeddings,
            ("POST", "/tokenize"): self._tokenize,
            ("POST", "/detokenize"): self._detokenize,
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/cordee/engine"): self._engine,
            ("POST", PREFIXES): self.prefixes.tell,
            ("POST", WARM): self.prefixes.warm,
            ("GET", bundle.PATH): self._bundles.open,
        }
        self._paths = {path for _, path in self._routes}

    def handle(self, exchange: Exchange) -> Awaitable[None] | None:
        """Answer one request."""
        route = self._routes.get((exchange.method, exchange.path))
        try:
            if route is None:
                raise _no_route(exchange, exchange.path in self._paths)
            return route(exchange)
        except ApiError as error:
            self.metrics.refused(error.status)
            exchange.send(error.status, error.body(), headers=error.headers)
        return None

    def deliver(self, loop: asyncio.AbstractEventLoop, told: Told) -> None:
        """Bring what a step has to tell to the loop. From the worker's thread."""
        loop.call_soon_threadsafe(_tell, told)

    def _chat(self, exchange: Exchange) -> None:
        self._open()
        request = parse(exchange.body, Chat)
        self._checked(request.model)
        self._generate(exchange, chat_wishes(request, self.model), stream=bool(request.stream))

    def _completion(self, exchange: Exchange) -> None:
        self._open()
        request = parse(exchange.body, Completion)
        self._checked(request.model)
        wishes = completion_wishes(request, self.model)
        self._generate(exchange, wishes, stream=bool(request.stream))

    def _generate(self, exchange: Exchange, wishes: list[Wish], *, stream: bool) -> None:
        if len(wishes) > ANSWERS_MOST:
            raise ApiError(400, f"n: at most {ANSWERS_MOST} answers to one request", param="n")
        if stream:
            self._bundles.join(exchange)
        generation = Generation(exchange, wishes, self.model, stream=stream)
        begun = []
        try:
            for choice in generation.choices:
                self.worker.submit(choice)
                begun.append(choice)
        except ApiError:
            for choice in begun:
                self.worker.cancel(choice)
            raise
        self.metrics.follow(generation)

        def gone() -> None:
            for choice in begun:
                self.worker.cancel(choice)

        exchange.when_gone(gone)

    def _embeddings(self, exchange: Exchange) -> None:
        self._open()
        request = parse(exchange.body, Embeddings)
        self._checked(request.model)
        texts = [
            self.model.vocabulary.encode(part) if isinstance(part, str) else part
            for part in prompts_of(request.input)
        ]
        for ids in texts:
            if not ids or len(ids) > self.model.max_model_len or max(ids) >= self.model.logits:
                raise ApiError(400, "input: is empty, too long, or no text", param="input")
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                found = [self.worker.states(ids) for ids in texts]
            except ApiError as error:
                loop.call_soon_threadsafe(
                    exchange.send, error.status, error.body(), "application/json", error.headers
                )
                return
            body = _embedded(found, request, sum(map(len, texts)))
            loop.call_soon_threadsafe(exchange.send, 200, body)

        self.worker.ask(work)

    def _tokenize(self, exchange: Exchange) -> None:
        request = parse(exchange.body, Tokenize)
        vocabulary = self.model.vocabulary
        if request.messages is not None:
            text = prompt_of(
                request.messages, self.model, prompt_follows=request.add_generation_prompt
            )
            ids = vocabulary.encode(text, special=False)
        elif request.prompt is not None:
            ids = vocabulary.encode(request.prompt, special=request.add_special_tokens)
        else:
            raise ApiError(400, "prompt: is missing", param="prompt")
        told = {"tokens": ids, "count": len(ids), "max_model_len": self.model.max_model_len}
        exchange.send(200, msgspec.json.encode(told))

    def _detokenize(self, exchange: Exchange) -> None:
        request = parse(exchange.body, Detokenize)
        text = self.model.vocabulary.decode(request.tokens)
        exchange.send(200, msgspec.json.encode({"prompt": text}))

    def _models(self, exchange: Exchange) -> None:
        model = {
            "id": self.model.name,
            "object": "model",
            "created": self._began_s,
            "owned_by": "cordee",
            "max_model_len": self.model.max_model_len,
        }
        exchange.send(200, msgspec.json.encode({"object": "list", "data": [model]}))

    def _health(self, exchange: Exchange) -> None:
        if self.worker.broken is not None:
            exchange.fail(503, f"the engine has failed: {self.worker.broken}")
        elif self.draining:
            exchange.fail(503, "the engine is ending")
        else:
            exchange.send(200, b"{}")

    def _metrics(self, exchange: Exchange) -> None:
        exchange.send(200, self.metrics.text(), METRICS)

    def _engine(self, exchange: Exchange) -> None:
        worker, identity = self.worker, self.identity
        exchange.send(200, msgspec.json.encode(self._state(worker, identity)))

    def _state(self, worker: Worker[A, W, C], identity: Identity) -> Mapping[str, object]:
        return {
            "model": self.model.name,
            "numerics": identity.numerics,
            "device": identity.device,
            "chip": identity.chip,
            "generation": identity.generation,
            "max_model_len": self.model.max_model_len,
            "block_tokens": BLOCK_TOKENS,
            "kv_blocks": worker.blocks.count,
            "kv_blocks_free": worker.blocks.free,
            "steps": worker.counts.steps,
            "running": worker.running,
            "waiting": worker.waiting,
            "draining": self.draining,
        }

    def _open(self) -> None:
        if self.draining:
            raise ApiError(503, "the engine is ending", code="draining", retry_after_s=1)

    def _checked(self, name: str) -> None:
        if name and name != self.model.name:
            raise ApiError(
                404,
                f"there is no model {name}; this engine serves {self.model.name}",
                param="model",
                code="model_not_found",
            )


def _tell(told: Told) -> None:
    for choice, event in told:
        choice.tell(event)


def _no_route(exchange: Exchange, known: bool) -> ApiError:
    if known:
        return ApiError(405, f"{exchange.path} does not take {exchange.method}")
    return ApiError(404, f"there is no {exchange.path}", code="not_found")


def _embedded(found: list[NDArray[np.float32]], request: Embeddings, tokens: int) -> bytes:
    data = []
    for index, vector in enumerate(found):
        cut = vector[: request.dimensions]
        cut = cut / max(float(np.linalg.norm(cut)), 1e-12)
        told: object = cut.tolist()
        if request.encoding_format == "base64":
            told = base64.b64encode(cut.astype("<f4").tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": told})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode(
        {"object": "list", "data": data, "model": request.model, "usage": usage}
    )
