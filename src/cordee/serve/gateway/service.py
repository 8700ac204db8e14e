"""The gateway's endpoints, and the program that serves them."""

import asyncio
import gc
import logging
import signal
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from cordee.core.errors import UsageError
from cordee.core.http.exchange import METRICS, Exchange
from cordee.core.http.server import Limits, Listener, bound, listen_on
from cordee.core.pages.files import Files
from cordee.core.pages.server import answered
from cordee.serve.api.errors import ApiError
from cordee.serve.api.openapi import document
from cordee.serve.gateway.admin import Admin
from cordee.serve.gateway.collector import Collector
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.context import trace_of
from cordee.serve.gateway.conversations import Conversations
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.events import Events
from cordee.serve.gateway.fleet import Fleet, Mirror
from cordee.serve.gateway.forward import Forward
from cordee.serve.gateway.health import Health
from cordee.serve.gateway.intake import Kept, asked, kept_of, object_of, position_in, returned
from cordee.serve.gateway.journal import Journal
from cordee.serve.gateway.keys import Key, Keys, read_keys
from cordee.serve.gateway.log import Log
from cordee.serve.gateway.probes import Probes
from cordee.serve.gateway.record import CHAT, COMPLETIONS, Record
from cordee.serve.gateway.responses import Responses
from cordee.serve.gateway.status import Status

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
        pages: Files | None = None,
    ) -> None:
        """Raises `UsageError` where a file of the configuration is broken."""
        self.config, self.fleet = config, fleet
        self.keys: Keys = read_keys(config.keys)
        self.tls = _tls(config)
        self.events = Events()
        self._log = Log(config.log) if config.log else None
        keep_s = config.request_timeout_s + KEPT_S
        self._journal = Journal(config.journal, keep_s) if config.journal else None
        if self._log is not None:
            self.events.told.watch(self._log.event)
        self.dispatcher = Dispatcher(config, fleet, self.events, mirror)
        self.status = Status(fleet, self.dispatcher)
        self.collector = Collector(config.traces) if config.traces else None
        if self.collector is not None:
            self.status.spans = self.collector.counted
        self.dispatcher.finished = self._count
        self._mirror = mirror
        self._extra = mirror.routes() if mirror is not None else {}
        if mirror is not None:
            mirror.joined(self.events.add)
            self.status.move = mirror.state
        self.draining = False
        self._pages = pages or {}
        self._forward = Forward(self.dispatcher)
        self._conversations = Conversations(config.journal)
        self._responses = Responses(
            self._conversations, lambda: self.fleet.pools()[0].model, self._chat
        )
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
            waiting = self._route(exchange)
            return None if waiting is None else self._answered(exchange, waiting)
        except ApiError as error:
            self._refuse(exchange, error)
        except UsageError as error:
            self._refuse(exchange, ApiError(400, str(error)))
        return None

    async def _answered(self, exchange: Exchange, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except ApiError as error:
            self._refuse(exchange, error)

    def beside(self) -> Sequence[Coroutine[None, None, None]]:
        """What runs beside requests until it is cancelled."""
        health = Health(self.fleet, self.dispatcher)
        made = [health.run(), self._conversations.run()]
        if self.config.probe_s > 0:
            made.append(Probes(self.dispatcher, health).run())
        if self.collector is not None:
            made.append(self.collector.run())
        if self._journal is not None:
            made.append(self._journal.run())
        return made

    async def close(self) -> None:
        """Bring to its place what is still held back."""
        if self.collector is not None:
            await self.collector.close()
        if self._journal is not None:
            await self._journal.close()

    def tell(self, what: str, **told: object) -> None:
        """Write to the log what becomes of the service."""
        if self._log is not None:
            self._log.service(what, told)

    def _refuse(self, exchange: Exchange, error: ApiError) -> None:
        if self._log is not None:
            self._log.refused(exchange, error)
        exchange.send(error.status, error.body(), headers=error.headers)

    def _route(self, exchange: Exchange) -> Awaitable[None] | None:
        path = exchange.path
        if answered(exchange, self._pages):
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
            who = f"by {key.name}" if key else f"from {exchange.client or 'this machine'}"
            return self._admin.handle(exchange, who)
        if path.startswith("/v1/streams/") and exchange.method == "GET":
            return self._again(exchange, path.removeprefix("/v1/streams/"), key)
        if path.startswith("/v1/responses/"):
            return self._respond(exchange)
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
        body = object_of(exchange.body)
        record = asked(exchange, exchange.path, body, key, self.config.request_timeout_s)
        self._begin(record, stays=record.streams)

    def _respond(self, exchange: Exchange) -> Awaitable[None]:
        """OpenAI's newer endpoint, on top of chat completions."""
        key = self.keys.who(exchange.headers.get("authorization"))
        if exchange.method != "POST" or exchange.path != "/v1/responses":
            return self._responses.other(exchange, _name(key))
        if self.draining:
            raise ApiError(503, "the gateway is ending", code="draining", retry_after_s=1)
        self.keys.admit(key)
        return self._responses.create(exchange, _name(key))

    def _chat(self, exchange: Exchange, body: dict[str, Any], key: str) -> None:
        timeout_s = self.config.request_timeout_s
        self._begin(asked(exchange, CHAT, body, self.keys.named(key), timeout_s))

    def _begin(self, record: Record, *, stays: bool = False) -> None:
        """`stays`: its client may come back for the rest, here or at another gateway."""
        headers = record.exchange.headers
        record.trace = trace_of(headers, begins=self.collector is not None)
        self.dispatcher.admit(record)
        self._records[record.id] = record
        while len(self._records) > KEPT_MOST:
            self._records.popitem(last=False)
        if stays and self._journal is not None:
            self._journal.begin(record)

    async def _again(self, exchange: Exchange, request_id: str, key: Key | None) -> None:
        """A client comes back for the rest of its stream."""
        said = position_in(exchange, request_id)
        kept = self._kept(request_id, _name(key))
        if kept is None and self._journal is not None:
            kept = await self._journal.read(request_id)
        if kept is None or kept.key != _name(key):
            raise ApiError(
                404,
                f"there is no stream {request_id} any more: send the request again, with its "
                "Last-Event-ID",
                code="not_found",
            )
        if any(pool.name == kept.pool and pool.kind != "cordee" for pool in self.fleet.pools()):
            raise ApiError(409, f"an engine of {kept.pool} cannot go on with it: ask again")
        timeout_s = self.config.request_timeout_s
        self._begin(returned(exchange, kept, said, timeout_s), stays=True)

    def _kept(self, request_id: str, key: str) -> Kept | None:
        """A stream of this gateway; its replica is told to end what it still does for it."""
        old = self._records.get(request_id)
        longest_s = KEPT_S + self.config.request_timeout_s
        if old is None or old.key != key or time.monotonic() - old.began_s > longest_s:
            return None
        self.dispatcher.abandon(old)
        return kept_of(old)

    def _count(self, record: Record) -> None:
        """A request is over: its key is charged with its tokens."""
        tokens = sum(leg.ids for leg in record.legs) + record.lines[0].prompt_tokens
        self.keys.spent(self.keys.named(record.key), tokens)
        if self._log is not None:
            self._log.request(record)
        if self.collector is not None:
            self.collector.request(record)
        if self._journal is not None:
            self._journal.over(record)
        if self._mirror is not None and record.outcome in ("ok", "failed"):
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
        exchange.send(200, self.status.metrics(), METRICS)

    def _may_steer(self, exchange: Exchange, key: Key | None) -> None:
        """The state may be read by every key; it is changed by admins, or from this machine."""
        local = exchange.client in ("127.0.0.1", "::1", "")
        if exchange.method == "POST" and not ((key and key.admin) or (not self.keys and local)):
            raise ApiError(403, "only an admin's key may steer the service")


async def serve(
    gateway: Gateway,
    on_ready: Callable[[Gateway, Listener], None] | None = None,
    sockets: Sequence[socket.socket] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and then finish what is under way.

    `sockets`: those of its port where they are `bound` already. Raises `UsageError` where the port is taken.
    """
    config = gateway.config
    limits = Limits(body_bytes=config.max_body_bytes)
    sockets = sockets or bound(config.host, config.port)
    listener = await listen_on(gateway.handle, sockets, limits=limits, tls=gateway.tls)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def drain() -> None:
        if gateway.draining:
            ended.set()
            return
        gateway.draining = True
        gateway.tell("gateway-drain", streams=len(gateway.dispatcher.active))
        loop.create_task(listener.drain(DRAIN_S)).add_done_callback(lambda _: ended.set())

    gc.freeze()
    gc.set_threshold(20_000, 50, 100)  # streams make few cycles, and a collection is a late token
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
    beside = [loop.create_task(work) for work in gateway.beside()]
    for task in beside:
        task.add_done_callback(_told)
    scheme = "http" if gateway.tls is None else "https"
    gateway.tell("gateway-start", url=f"{scheme}://{config.host}:{listener.port}")
    if on_ready is not None:
        on_ready(gateway, listener)
    await ended.wait()
    for task in beside:
        task.cancel()
    await gateway.close()
    await listener.close()
    gateway.tell("gateway-end")


def _told(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("what runs beside requests ended", exc_info=task.exception())


def _tls(config: GatewayConfig) -> ssl.SSLContext | None:
    if config.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.certificate, config.private_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{config.certificate}: cannot be used for TLS: {error}") from error
    return context


def _name(key: Key | None) -> str:
    return key.name if key else ""
