"""Requests without a stream: handed to any replica that can answer."""

from cordee.core.http.client import Unreachable
from cordee.core.http.exchange import JSON, Exchange
from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.relay import ELSEWHERE

TIMEOUT_S = 120.0


class Forward:
    """Passes a request on as it is, and tries another replica where one fails."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def any(self, exchange: Exchange) -> None:
        """Answer from one of the replicas that are ready."""
        ready = [
            replica
            for replica in self._dispatcher.fleet.replicas()
            if replica.state == "ready" and replica.pool.role != "shadow"
        ]
        told = "none is ready"
        for replica in sorted(ready, key=lambda r: r.running):
            try:
                reply = await self._dispatcher.client.request(
                    replica.url + exchange.path,
                    method=exchange.method,
                    body=exchange.body,
                    timeout_s=TIMEOUT_S,
                )
            except Unreachable as failure:
                told = str(failure)
                continue
            if reply.status in ELSEWHERE:
                told = f"{replica.name} answered {reply.status}"
                continue
            exchange.send(reply.status, reply.body, reply.headers.get("content-type", JSON))
            return
        error = ApiError(503, f"no replica could answer: {told}", retry_after_s=1)
        exchange.send(error.status, error.body(), headers=error.headers)
