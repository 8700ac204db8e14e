"""From what a client sends to a record: a new request, or one that it comes back for."""

import secrets
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cordee.core.http.exchange import Exchange
from cordee.serve.api.errors import ApiError, refused
from cordee.serve.api.whole import Whole
from cordee.serve.gateway.keys import Key
from cordee.serve.gateway.record import (
    Record,
    created_of,
    lines_of,
    new_id,
    position_of,
)

PRIORITY_MOST = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """A stream that its client may come back for: the request, and the ids of each choice so far."""

    id: str
    path: str
    body: dict[str, Any]
    key: str
    priority: int
    pool: str
    ids: "Sequence[tuple[int, array[int]]]"
    """Of each choice how many tokens come before those that are known, and these."""


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises `ApiError`."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise refused(error) from error
    except RecursionError as error:
        raise ApiError(400, "the body is nested too deeply", code="invalid_json") from error


def asked(
    exchange: Exchange, path: str, body: dict[str, Any], key: Key | None, timeout_s: float
) -> Record:
    """The record of a request, which may say where its client is. Raises `ApiError`."""
    last = exchange.headers.get("last-event-id")
    request_id, said = position_of(last) if last else ("", [])
    if not request_id:
        request_id = new_id(path, secrets.token_hex(8), time.time())
    given = body.get("cordee") if isinstance(body.get("cordee"), dict) else {}
    priority = int(_number(body, "priority", 0)) + (key.priority if key else 0)
    kept = Kept(
        id=request_id,
        path=path,
        body=body,
        key=key.name if key else "",
        priority=max(-PRIORITY_MOST, min(PRIORITY_MOST, priority)),
        pool="",
        ids=[],
    )
    record = _record(exchange, kept)
    record.deadline_s = time.monotonic() + min(_number(given, "deadline_s", timeout_s), timeout_s)
    if said and len(said) != len(record.lines):
        raise ApiError(400, "Last-Event-ID: is of another request", param="Last-Event-ID")
    for line, count in zip(record.lines, said, strict=False):
        line.base = count
    return record


def kept_of(record: Record) -> Kept:
    """What has to be known of a record to go on with it."""
    ids = [(line.base, line.ids) for line in record.lines]
    pool = record.pool
    return Kept(record.id, record.path, record.body, record.key, record.priority, pool, ids)


def position_in(exchange: Exchange, request_id: str) -> list[int]:
    """How far the client of a stream is, as it says. Raises `ApiError`."""
    after = exchange.query.get("after") or "0"
    last = exchange.headers.get("last-event-id") or f"{request_id}.{after}"
    name, said = position_of(last)
    if name != request_id:
        raise ApiError(400, "Last-Event-ID: is of another request", param="Last-Event-ID")
    return said


def returned(exchange: Exchange, kept: Kept, said: Sequence[int], timeout_s: float) -> Record:
    """The record of the rest of a stream, from where its client is. Raises `ApiError`."""
    record = _record(exchange, kept)
    if len(said) != len(record.lines):
        raise ApiError(400, f"after: the stream has {len(record.lines)} choices", param="after")
    record.streams, record.whole = True, None
    record.deadline_s = time.monotonic() + timeout_s
    for line, (base, ids), count in zip(record.lines, kept.ids, said, strict=True):
        if not base and count <= len(ids):
            line.ids = ids[:count]
        else:  # the engine makes those again that are not known here
            line.base = count
            line.prefix = array("i") if base else ids
    return record


def _record(exchange: Exchange, kept: Kept) -> Record:
    body = kept.body
    options = body.get("stream_options")
    streams = body.get("stream") is True
    return Record(
        id=kept.id,
        path=kept.path,
        created=created_of(kept.id),
        lines=lines_of(kept.path, body, kept.id),
        streams=streams,
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
        wants_ids=body.get("return_token_ids") is True,
        prompt=_prompt(body),
        exchange=exchange,
        body=body,
        key=kept.key,
        priority=kept.priority,
        pool=kept.pool,
        traces=exchange.headers.get("x-cordee-trace") == "1",
        whole=None if streams else Whole(),
    )


def _number(given: object, name: str, default: float) -> float:
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def _prompt(body: dict[str, Any]) -> bytes:
    """What tells prompts apart: messages with the tools before them, or the text."""
    given = [body.get("tools"), body.get("messages") or body.get("prompt")]
    return msgspec.json.encode(given)
