"""What happens as lines of JSON, for machines that collect logs; no text of requests or answers is in them."""

import time
from collections.abc import Mapping
from pathlib import Path

from cordee.core.events import Event, EventFile, event
from cordee.core.http.exchange import Exchange
from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.record import Record

STANDARD_OUTPUT = "-"


class Log:
    """What is told of a service and of its requests."""

    def __init__(self, target: str) -> None:
        """`target`: a path, or `-`. Raises `UsageError` where it cannot be written."""
        self._file = EventFile(None if target == STANDARD_OUTPUT else Path(target))

    def event(self, happened: Event) -> None:
        """Something that all who watch are told of."""
        self._file.write({name: happened[name] for name in ("time_s", "kind", "replica", "text")})

    def service(self, what: str, told: Mapping[str, object]) -> None:
        """The service itself begins or ends."""
        self._file.write(event(what, **told))

    def refused(self, exchange: Exchange, error: ApiError) -> None:
        """A request that no replica was asked for."""
        told = {"path": exchange.path, "client": exchange.client, "status": error.status}
        self._file.write(event("request-refused", **told, code=error.code))

    def request(self, record: Record) -> None:
        """A request is over."""
        now = time.monotonic()
        breaks = [leg for leg in record.legs if leg.reason]
        told: dict[str, object] = {
            "id": record.id,
            "path": record.route,
            "model": record.lines[0].body.get("model"),
            "pool": record.pool,
            "key": record.key,
            "stream": record.streams,
            "outcome": record.outcome,
            "error": record.error,
            "tokens_in": record.lines[0].prompt_tokens,
            "tokens_out": sum(leg.ids for leg in record.legs),
            "ttft_s": None if record.first_s is None else round(record.first_s, 4),
            "duration_s": round(now - record.began_s, 4),
            "failovers": len(breaks),
            "replicas": list(dict.fromkeys(leg.replica for leg in record.legs)),
        }
        if breaks:
            told["broke"] = [{"replica": leg.replica, "reason": leg.reason} for leg in breaks]
        self._file.write(event("request", **told))
