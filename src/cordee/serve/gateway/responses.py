"""/v1/responses on top of the gateway's chat completions: an exchange that speaks the other language."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cordee.core.http.exchange import JSON, Exchange
from cordee.serve.api.errors import ApiError
from cordee.serve.api.responses import Events, chat_of, items_of
from cordee.serve.gateway.conversations import Answered, Conversations
from cordee.serve.gateway.intake import object_of

Json = dict[str, Any]


class ResponsesExchange(Exchange):
    """Takes what is written as chat completions, and writes it as responses to the client's own exchange."""

    __slots__ = ("_begun", "_events", "_own", "_rest", "_whole")

    def __init__(self, own: Exchange, events: Events, whole: Callable[[Json], None]) -> None:
        """`whole` is given the response when there is all of it."""
        super().__init__(own.wire, own.method, own.path.encode(), own.client)
        self.headers = own.headers
        self._own, self._events, self._whole = own, events, whole
        self._rest, self._begun = b"", False

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
            response = self._events.response()
            self._whole(response)
            body = msgspec.json.encode(response)
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
            self._whole(self._events.response())
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


class Responses:
    """The endpoints under /v1/responses."""

    def __init__(
        self,
        conversations: Conversations,
        model: Callable[[], str],
        begin: Callable[[Exchange, Json, str], None],
    ) -> None:
        """`model`: where a request names none; `begin`: asks a chat completion for a key."""
        self._conversations, self._model, self._begin = conversations, model, begin

    async def create(self, exchange: Exchange, key: str) -> None:
        """POST /v1/responses. Raises `ApiError`."""
        asked = object_of(exchange.body)
        items = [*await self._before(asked, key), *items_of(asked)]
        body = chat_of(asked, items) | {"stream_options": {"include_usage": True}}
        name = f"resp_{secrets.token_hex(12)}"
        events = Events(name, int(time.time()), str(body.get("model") or self._model()), asked)

        def whole(response: Json) -> None:
            if asked.get("store") is not False:
                self._conversations.add(Answered(key, items, response))

        self._begin(ResponsesExchange(exchange, events, whole), body, key)

    async def other(self, exchange: Exchange, key: str) -> None:
        """GET and DELETE of /v1/responses/NAME, GET of its input_items. Raises `ApiError`."""
        name, _, part = exchange.path.removeprefix("/v1/responses/").partition("/")
        if exchange.method == "GET" and not part:
            if exchange.query.get("stream") == "true":
                raise ApiError(
                    400, "stream: a response that is whole is not told anew", param="stream"
                )
            told: Json = (await self._conversations.find(name, key)).response
        elif exchange.method == "GET" and part == "input_items":
            told = _page((await self._conversations.find(name, key)).input, exchange.query)
        elif exchange.method == "DELETE" and not part:
            await self._conversations.remove(name, key)
            told = {"id": name, "object": "response", "deleted": True}
        elif not part:
            raise ApiError(405, f"/v1/responses/ID does not take {exchange.method}")
        else:
            raise ApiError(404, f"there is no {exchange.path[:100]}", code="not_found")
        exchange.send(200, msgspec.json.encode(told))

    async def _before(self, asked: Json, key: str) -> list[Json]:
        """What was said up to the response that this one follows."""
        name = asked.get("previous_response_id")
        if name is None:
            return []
        try:
            found = await self._conversations.find(str(name), key)
        except ApiError as error:
            raise ApiError(
                400,
                f"previous_response_id: {error.message}; it may be too long ago, or was not stored",
                param="previous_response_id",
                code="previous_response_not_found",
            ) from error
        return [*found.input, *found.response["output"]]


def _page(items: list[Json], query: Mapping[str, str]) -> Json:
    """A page of a list, as OpenAI's clients turn them. Raises `ApiError`."""
    given = query.get("limit", "20")
    if not given.isdigit() or not 1 <= int(given) <= 100:
        raise ApiError(400, "limit: must be from 1 to 100", param="limit")
    ordered = items if query.get("order") == "asc" else items[::-1]
    names = [item["id"] for item in ordered]
    after = query.get("after")
    if after is not None and after not in names:
        raise ApiError(400, f"after: there is no item {after[:64]}", param="after")
    begin = 0 if after is None else names.index(after) + 1
    shown = ordered[begin : begin + int(given)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": begin + len(shown) < len(ordered),
    }
