"""The gateway's endpoints, and the program that serves them."""

import asyncio
import gc
import logging
import secrets
import signal
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from cordee.core.errors import UsageError
from cordee.serve.api.errors import ApiError, refused
from cordee.serve.api.openapi import document
from cordee.serve.api.responses import Events as ResponseEvents
from cordee.serve.api.responses import chat_of
from cordee.serve.api.whole import Whole
from cordee.serve.gateway.admin import Admin
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.events import Events
from cordee.serve.gateway.fleet import Fleet, Mirror
from cordee.serve.gateway.forward import Forward
from cordee.serve.gateway.health import Health
from cordee.serve.gateway.keys import Key, Keys, read_keys
from cordee.serve.gateway.record import (
    CHAT,
    COMPLETIONS,
    Record,
    created_of,
    lines_of,
    new_id,
    position_of,
)
from cordee.serve.gateway.responses import ResponsesExchange
from cordee.serve.gateway.status import Status
from cordee.serve.http.exchange import Exchange
from cordee.serve.http.server import Limits, Listener, listen

Pages = Mapping[str, tuple[str, bytes]]
KEPT_S = 300.0
KEPT_MOST = 4096
DRAIN_S = 600.0
log = logging.getLogger(__name__)


class Gateway:
    """Answers HTTP requests by way of the replicas of a fleet."""

    def __init__(
        self,
        config: GatewayConfig,
        fleet: Fleet,
        mirror: Mirror | None = None,
        pages: Pages | None = None,
    ) -> None:
        self.config, self.fleet = config, fleet
        self.keys: Keys = read_keys(config.keys)
        self.events = Events()
        self.dispatcher = Dispatcher(config, fleet, self.events, mirror)
        self.status = Status(fleet, self.dispatcher)
        self.dispatcher.finished = self._count
        self._mirror = mirror
        self._extra = mirror.routes() if mirror is not None else {}
        if mirror is not None:
            mirror.joined(self.events.add)
            self.status.move = mirror.state
        self.draining = False
        self._pages = pages or {}
        self._forward = Forward(self.dispatcher)
        self._admin = Admin(fleet, self.dispatcher, self.status, self.events)
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._routes: dict[tuple[str, str], Callable[[Exchange], Awaitable[None] | None]] = {
            ("POST", CHAT): self._generate,
            ("POST", COMPLETIONS): self._generate,
            ("POST", "/v1/responses"): self._respond,
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/v1/embeddings"): self._forward.any,
            ("POST", "/tokenize"): self._forward.any,
            ("POST", "/detokenize"): self._forward.any,
        }

    def handle(self, exchange: Exchange) -> Awaitable[None] | None:
        """Answer one request."""
        try:
            return self._route(exchange)
        except ApiError as error:
            exchange.send(error.status, error.body(), headers=error.headers)
        except UsageError as error:
            told = ApiError(400, str(error))
            exchange.send(told.status, told.body())
        return None

    def _route(self, exchange: Exchange) -> Awaitable[None] | None:
        path = exchange.path
        if path in self._pages and exchange.method in ("GET", "HEAD"):
            kind, body = self._pages[path]
            exchange.send(200, body, kind)
            return None
        if path == "/openapi.json" and exchange.method == "GET":
            exchange.send(200, document())
            return None
        if path in ("/health", "/metrics") and exchange.method == "GET":
            return self._routes["GET", path](exchange)
        key = self.keys.who(exchange.headers.get("authorization"))
        if path.startswith("/cordee/"):
            self._may_steer(exchange, key)
            extra = self._extra.get((exchange.method, path))
            if extra is not None:
                extra(exchange)
                return None
            return self._admin.handle(exchange)
        if path.startswith("/v1/streams/") and exchange.method == "GET":
            self._again(exchange, path.removeprefix("/v1/streams/"))
            return None
        route = self._routes.get((exchange.method, path))
        if route is None:
            known = any(path == other for _, other in self._routes)
            raise ApiError(
                405 if known else 404,
                f"{path} does not take {exchange.method}" if known else f"there is no {path}",
                code=None if known else "not_found",
            )
        return route(exchange)

    def _generate(self, exchange: Exchange) -> None:
        if self.draining:
            raise ApiError(503, "the gateway is ending", code="draining", retry_after_s=1)
        key = self.keys.who(exchange.headers.get("authorization"))
        self.keys.admit(key)
        body = _object(exchange.body)
        self._begin(self._record(exchange, exchange.path, body, key))

    def _respond(self, exchange: Exchange) -> None:
        """OpenAI's newer endpoint, on top of chat completions."""
        if self.draining:
            raise ApiError(503, "the gateway is ending", code="draining", retry_after_s=1)
        key = self.keys.who(exchange.headers.get("authorization"))
        self.keys.admit(key)
        body = chat_of(_object(exchange.body))
        body["stream_options"] = {"include_usage": True}
        name = f"resp_{secrets.token_hex(12)}"
        models = [pool.model for pool in self.fleet.pools()]
        events = ResponseEvents(name, int(time.time()), str(body.get("model") or models[0]))
        self._begin(self._record(ResponsesExchange(exchange, events), CHAT, body, key))

    def _record(
        self, exchange: Exchange, path: str, body: dict[str, Any], key: Key | None
    ) -> Record:
        now = time.time()
        last = exchange.headers.get("last-event-id")
        request_id, said = position_of(last) if last else ("", [])
        if not request_id:
            request_id = new_id(path, secrets.token_hex(8), now)
        lines = lines_of(path, body, request_id)
        if said and len(said) != len(lines):
            raise ApiError(400, "Last-Event-ID: is of another request", param="Last-Event-ID")
        for line, count in zip(lines, said, strict=False):
            line.base = count
        options = body.get("stream_options")
        given = body.get("cordee") if isinstance(body.get("cordee"), dict) else {}
        timeout_s = _number(given, "deadline_s", self.config.request_timeout_s)
        streams = body.get("stream") is True
        priority = int(_number(body, "priority", 0))
        return Record(
            id=request_id,
            path=path,
            created=created_of(request_id),
            lines=lines,
            streams=streams,
            wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
            wants_ids=body.get("return_token_ids") is True,
            prompt=_prompt(body),
            exchange=exchange,
            key=key.name if key else "",
            priority=max(-1000, min(1000, priority + (key.priority if key else 0))),
            deadline_s=time.monotonic() + min(timeout_s, self.config.request_timeout_s),
            traces=exchange.headers.get("x-cordee-trace") == "1",
            whole=None if streams else Whole(),
        )

    def _begin(self, record: Record) -> None:
        self.dispatcher.admit(record)
        self._records[record.id] = record
        while len(self._records) > KEPT_MOST:
            self._records.popitem(last=False)

    def _again(self, exchange: Exchange, request_id: str) -> None:
        """A client comes back for the rest of its stream."""
        old = self._records.get(request_id)
        if old is None or time.monotonic() - old.began_s > KEPT_S + self.config.request_timeout_s:
            raise ApiError(
                404,
                f"there is no stream {request_id} any more: send the request again, with its "
                "Last-Event-ID",
                code="not_found",
            )
        after = exchange.query.get("after", "")
        last = exchange.headers.get("last-event-id")
        _, said = position_of(last or f"{request_id}.{after or '0'}")
        if len(said) != len(old.lines):
            raise ApiError(400, f"after: the stream has {len(old.lines)} choices", param="after")
        self.dispatcher.abandon(old)
        lines = lines_of(old.path, _joined(old), request_id)
        for line, before, count in zip(lines, old.lines, said, strict=True):
            if count <= before.said and not before.base:
                line.ids = before.ids[:count]
            else:
                line.base = count
        record = Record(
            id=request_id,
            path=old.path,
            created=old.created,
            lines=lines,
            streams=True,
            wants_usage=old.wants_usage,
            wants_ids=old.wants_ids,
            prompt=old.prompt,
            exchange=exchange,
            key=old.key,
            priority=old.priority,
            deadline_s=time.monotonic() + self.config.request_timeout_s,
            traces=exchange.headers.get("x-cordee-trace") == "1",
        )
        self._begin(record)

    def _count(self, record: Record) -> None:
        """Charge the key of a request with its tokens."""
        tokens = sum(len(line.ids) for line in record.lines) + record.lines[0].prompt_tokens
        self.keys.spent(self.keys.named(record.key), tokens)
        if self._mirror is not None:
            self._mirror.finished(record)

    def _models(self, exchange: Exchange) -> None:
        names = dict.fromkeys(p.model for p in self.fleet.pools() if p.role != "shadow")
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "cordee"} for name in names
        ]
        exchange.send(200, msgspec.json.encode({"object": "list", "data": data}))

    def _health(self, exchange: Exchange) -> None:
        ready = sum(replica.state == "ready" for replica in self.fleet.replicas())
        status = 200 if ready and not self.draining else 503
        exchange.send(status, msgspec.json.encode({"ready": ready, "draining": self.draining}))

    def _metrics(self, exchange: Exchange) -> None:
        exchange.send(200, self.status.metrics(), "text/plain; version=0.0.4; charset=utf-8")

    def _may_steer(self, exchange: Exchange, key: Key | None) -> None:
        """The state may be read by every key; it is changed by admins, or from this machine."""
        local = exchange.client in ("127.0.0.1", "::1", "")
        if exchange.method == "POST" and not ((key and key.admin) or (not self.keys and local)):
            raise ApiError(403, "only an admin's key may steer the service")


async def serve(
    config: GatewayConfig,
    fleet: Fleet,
    mirror: Mirror | None = None,
    pages: Pages | None = None,
    on_ready: Callable[[Gateway, Listener], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and then finish what is under way.

    Raises `UsageError` where the port is taken or a file of the configuration is broken.
    """
    gateway = Gateway(config, fleet, mirror, pages)
    limits = Limits(body_bytes=config.max_body_bytes)
    listener = await listen(
        gateway.handle, config.host, config.port, limits=limits, tls=_tls(config)
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def drain() -> None:
        if gateway.draining:
            ended.set()
            return
        gateway.draining = True
        loop.create_task(listener.drain(DRAIN_S)).add_done_callback(lambda _: ended.set())

    gc.freeze()
    gc.set_threshold(20_000, 50, 100)  # streams make few cycles, and a collection is a late token
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
    health = loop.create_task(Health(fleet, gateway.dispatcher).run())
    health.add_done_callback(_told)
    if on_ready is not None:
        on_ready(gateway, listener)
    await ended.wait()
    health.cancel()
    await listener.close()


def _told(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the watch over the replicas ended", exc_info=task.exception())


def _tls(config: GatewayConfig) -> ssl.SSLContext | None:
    if config.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.certificate, config.private_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{config.certificate}: cannot be used for TLS: {error}") from error
    return context


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise refused(error) from error
    except RecursionError as error:
        raise ApiError(400, "the body is nested too deeply", code="invalid_json") from error


def _number(given: object, name: str, default: float) -> float:
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def _prompt(body: dict[str, Any]) -> bytes:
    """What tells prompts apart: messages with the tools before them, or the text."""
    given = [body.get("tools"), body.get("messages") or body.get("prompt")]
    return msgspec.json.encode(given)


def _joined(record: Record) -> dict[str, Any]:
    """The request as the client sent it, from its lines."""
    first = dict(record.lines[0].body)
    prompts: list[Any] = []
    for line in record.lines:
        if not prompts or line.body.get("prompt") != prompts[-1]:
            prompts.append(line.body.get("prompt"))
    first["n"] = len(record.lines) // max(1, len(prompts))
    if record.path == COMPLETIONS:
        first["prompt"] = prompts if len(prompts) > 1 else prompts[0]
    return first
