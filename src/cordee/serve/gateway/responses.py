"""/v1/responses on top of the gateway's chat completions: an exchange that speaks the other language."""

from collections.abc import Callable, Mapping

import msgspec

from cordee.serve.api.responses import Events
from cordee.serve.http.exchange import JSON, Exchange


class ResponsesExchange(Exchange):
    """Takes what is written as chat completions, and writes it as responses to the client's own exchange."""

    __slots__ = ("_begun", "_events", "_own", "_rest")

    def __init__(self, own: Exchange, events: Events) -> None:
        super().__init__(own.wire, own.method, own.path.encode(), own.client)
        self.headers = own.headers
        self._own, self._events, self._rest, self._begun = own, events, b"", False

    def send(
        self,
        status: int,
        body: bytes,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if status == 200:
            whole = msgspec.json.decode(body)
            message = whole["choices"][0]["message"]
            finish = whole["choices"][0]["finish_reason"]
            self._events.chunk(
                {
                    "choices": [{"delta": message, "finish_reason": finish}],
                    "usage": whole.get("usage"),
                }
            )
            body = msgspec.json.encode(self._events.response())
        self.finished, self.status = True, status
        self._own.send(status, body, content_type, headers)

    def start(
        self,
        status: int,
        content_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self._own.start(status, content_type, headers)
        if not self._begun:
            self._begun = True
            self._own.write(self._events.begin())

    def write(self, data: bytes) -> None:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                if line.startswith(b"data: {"):
                    self._hear(msgspec.json.decode(line[6:]))

    def _hear(self, chunk: dict[str, object]) -> None:
        error = chunk.get("error")
        if isinstance(error, dict):
            self._own.write(self._events.failed(error))
            self._own.finish()
            self.finished = True
        elif made := self._events.chunk(chunk):
            self._own.write(made)

    def finish(self) -> None:
        if not self.finished:
            self.finished = True
            self._own.write(self._events.end())
            self._own.finish()

    def when_gone(self, call: Callable[[], None]) -> None:
        self._own.when_gone(call)

    @property
    def started(self) -> bool:
        return self._own.started

    @property
    def put(self) -> None:
        """Nothing may be written past this exchange."""
        return None
