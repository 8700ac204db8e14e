"""Brings spans to OpenTelemetry's collector in the background; what it does not take is dropped and counted."""

import asyncio
import os
import platform
from collections import deque
from contextlib import suppress

import msgspec

from cordee import __version__
from cordee.core.errors import UsageError
from cordee.core.http.client import Client, Unreachable, target_of
from cordee.serve.gateway.record import Record
from cordee.serve.gateway.traces import Span, spans_of

PATH = "/v1/traces"
EVERY_S = 1.0
BATCH = 128
"""Spans in one message: few enough that no token waits for their encoding."""
WAITING_MOST = 4096
TIMEOUT_S = 5.0


class Collector:
    """One collector, and what waits for it."""

    def __init__(self, url: str) -> None:
        """`url`: as OTLP over HTTP has it, http://HOST:4318. Raises `UsageError`."""
        try:
            target_of(url)
        except (Unreachable, ValueError) as error:
            raise UsageError(f"[gateway] traces: {error}") from error
        url = url.rstrip("/")
        self._url = url if url.endswith(PATH) else url + PATH
        self._waiting: deque[Span] = deque()
        self._client = Client(connect_s=TIMEOUT_S)
        self.sent = self.dropped = 0

    def request(self, record: Record) -> None:
        """A request is over."""
        spans = spans_of(record)
        if len(self._waiting) + len(spans) > WAITING_MOST:
            self.dropped += len(spans)
        else:
            self._waiting += spans

    def counted(self) -> dict[str, int]:
        """How many spans were taken, and how many were not."""
        return {"sent": self.sent, "dropped": self.dropped}

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self._send()

    async def close(self) -> None:
        """Send what waits, if that goes quickly."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S):
                await self._send()
        self.dropped += len(self._waiting)
        await self._client.close()

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                reply = await self._client.request(
                    self._url, method="POST", body=_message(batch), timeout_s=TIMEOUT_S
                )
            except Unreachable:
                self.dropped += len(batch)
                return  # those behind wait for the next time
            if reply.status == 200:
                self.sent += len(batch)
            else:
                self.dropped += len(batch)


def _message(spans: list[Span]) -> bytes:
    names = {
        "service.name": "cordee",
        "service.version": __version__,
        "service.instance.id": f"{platform.node()}:{os.getpid()}",
    }
    resource = [{"key": name, "value": {"stringValue": value}} for name, value in names.items()]
    scope = {"name": "cordee.serve.gateway", "version": __version__}
    return msgspec.json.encode(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": resource},
                    "scopeSpans": [{"scope": scope, "spans": spans}],
                }
            ]
        }
    )
