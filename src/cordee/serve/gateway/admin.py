"""The gateway's own endpoints under /cordee: its state, its events, and what may be done to replicas."""

from collections.abc import Awaitable

import msgspec

from cordee.core.errors import UsageError
from cordee.core.http.exchange import Exchange
from cordee.core.pages.feed import Feed
from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.events import Events
from cordee.serve.gateway.fleet import ACTIONS, Fleet, Pool, Replica, Role, pool_named
from cordee.serve.gateway.rolling import roll
from cordee.serve.gateway.status import Status

REPLICAS_MOST = 1024
ROLES: tuple[Role, ...] = ("primary", "canary", "shadow", "standby")


class Admin:
    """Answers requests about the service itself."""

    def __init__(
        self, fleet: Fleet, dispatcher: Dispatcher, status: Status, events: Events
    ) -> None:
        self._fleet, self._dispatcher = fleet, dispatcher
        self._status, self._events = status, events
        self._feed = Feed(lambda: msgspec.json.encode(status.read()))
        self._rolling: set[str] = set()

    def handle(self, exchange: Exchange, who: str) -> Awaitable[None] | None:
        """Answer one request; `who` as events tell it. Raises `ApiError`."""
        parts = exchange.path.strip("/").split("/")[1:]
        if exchange.method == "GET" and parts == ["status"]:
            exchange.send(200, msgspec.json.encode(self._status.read()))
            return None
        if exchange.method == "GET" and parts == ["events"]:
            exchange.lasts = True  # a page that is open keeps no gateway from ending
            return self._feed.tell(exchange)
        if exchange.method == "POST" and len(parts) == 3 and parts[0] == "replicas":
            return self._act(exchange, parts[1], parts[2], who)
        if exchange.method == "POST" and len(parts) == 3 and parts[::2] == ["pools", "restart"]:
            return self._restart(exchange, pool_named(self._fleet, parts[1]), who)
        if exchange.method == "POST" and len(parts) == 3 and parts[::2] == ["pools", "scale"]:
            self._scale(exchange, pool_named(self._fleet, parts[1]), who)
            return None
        if exchange.method == "POST" and len(parts) == 2 and parts[0] == "pools":
            self._pool(exchange, parts[1], who)
            return None
        raise ApiError(404, f"there is no {exchange.path}", code="not_found")

    async def _act(self, exchange: Exchange, name: str, action: str, who: str) -> None:
        replica = self._replica(name)
        known = next((a for a in ACTIONS if a == action), None)
        error: ApiError | None = None
        if replica is None:
            error = ApiError(404, f"there is no replica {name}", code="not_found")
        elif known is None:
            error = ApiError(400, f"{action} is none of {', '.join(ACTIONS)}")
        else:
            try:
                await self._fleet.act(replica, known)
            except UsageError as refusal:
                error = ApiError(400, str(refusal))
        if error is not None:
            exchange.send(error.status, error.body())
            return
        self._events.add(action, name, f"asked for {who}")
        exchange.send(200, b"{}")

    def _pool(self, exchange: Exchange, name: str, who: str) -> None:
        pool = pool_named(self._fleet, name)
        given = _wish(exchange.body)
        role, share = given.get("role", pool.role), given.get("share", pool.share)
        chosen = next((r for r in ROLES if r == role), None)
        if chosen is None:
            raise ApiError(400, f"role: is none of {', '.join(ROLES)}", param="role")
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ApiError(400, "share: must be from 0 to 1", param="share")
        _set(pool, chosen, float(share))
        self._events.add("pool", name, f"{role}, share {share:g}, set {who}")
        exchange.send(200, b"{}")

    def _scale(self, exchange: Exchange, pool: Pool, who: str) -> None:
        number = _wish(exchange.body).get("replicas")
        if not isinstance(number, int) or not 1 <= number <= REPLICAS_MOST:
            raise ApiError(400, f"replicas: must be from 1 to {REPLICAS_MOST}", param="replicas")
        if pool.wanted is not None:
            raise ApiError(409, f"{pool.name}: its load says how many, by its table [pool.scaling]")
        try:
            self._fleet.scale(pool, number)
        except UsageError as refusal:
            raise ApiError(409, str(refusal)) from refusal
        self._events.add("scale", pool.name, f"{number} replicas, asked for {who}")
        exchange.send(200, b"{}")

    async def _restart(self, exchange: Exchange, pool: Pool, who: str) -> None:
        """An event for each replica that is ready again; goes no further where the client leaves."""
        if pool.name in self._rolling:
            error = ApiError(409, f"{pool.name} is being restarted already")
            exchange.send(error.status, error.body())
            return
        self._rolling.add(pool.name)
        self._events.add("restart", pool.name, f"one replica after another, asked for {who}")
        exchange.start(200)
        try:
            async for replica in roll(self._fleet, pool.name):
                exchange.write(_told({"ready": replica.name}))
                if exchange.gone:
                    return
            exchange.write(_told({"done": True}))
        except UsageError as refusal:
            exchange.write(_told({"error": str(refusal)}))
        finally:
            self._rolling.discard(pool.name)
        exchange.finish()

    def _replica(self, name: str) -> Replica | None:
        return next((r for r in self._fleet.replicas() if r.name == name), None)


def _told(what: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(what) + b"\n\n"


def _set(pool: Pool, role: Role, share: float) -> None:
    pool.role, pool.share = role, share


def _wish(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, object])
    except msgspec.DecodeError as error:
        raise ApiError(400, f"the body is no JSON object: {error}") from error
