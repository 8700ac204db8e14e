"""Requests as spans of OpenTelemetry: one for each request, and in it one for each replica that worked on it.

Names of attributes: opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans. Encoding:
opentelemetry.io/docs/specs/otlp, JSON.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cordee.serve.gateway.context import Trace
from cordee.serve.gateway.record import CHAT, Leg, Record

SERVER, CLIENT = 2, 3
"""Kinds of spans."""
ERROR = 2
"""A span's status."""
ASKED = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
}
ASKED_DOUBLE = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}
Span = dict[str, Any]


def spans_of(record: Record) -> list[Span]:
    """The spans of a request that is over; none where its client wants none."""
    trace = record.trace
    if trace is None or not trace.sampled:
        return []
    clock_s = time.time() - time.monotonic()
    request = _span(trace, trace.span, trace.parent, record, SERVER)
    request |= _times(clock_s, record.began_s, time.monotonic())
    request["attributes"] += _attributes(_of_request(record))
    request["events"] = _gaps(record, clock_s)
    if record.outcome in ("failed", "refused"):
        request["status"] = {"code": ERROR, "message": record.error or ""}
        request["attributes"] += _attributes({"error.type": record.outcome})
    return [request, *(_leg(trace, record, leg, clock_s) for leg in record.legs)]


def _leg(trace: Trace, record: Record, leg: Leg, clock_s: float) -> Span:
    made = _span(trace, leg.span or secrets.token_hex(8), trace.span, record, CLIENT)
    made |= _times(clock_s, leg.began_s, leg.ended_s or time.monotonic())
    where = urlsplit(leg.url)
    made["attributes"] += _attributes(
        {
            "server.address": where.hostname or "",
            "server.port": where.port or 80,
            "gen_ai.usage.output_tokens": leg.ids,
            "cordee.replica": leg.replica,
            "cordee.pool": leg.pool,
            "cordee.choice": leg.line,
            "cordee.first_position": leg.begins_at,
        }
    )
    if leg.first_s is not None:
        made["events"] = [_event(clock_s, leg.first_s, "cordee.first_token", {})]
    if leg.reason:
        made["status"] = {"code": ERROR, "message": leg.reason}
        made["attributes"] += _attributes({"error.type": "replica_failed"})
    return made


def _gaps(record: Record, clock_s: float) -> list[Span]:
    """What a client went through between a replica that broke off and the next."""
    made = []
    for number, leg in enumerate(record.legs):
        later = [other for other in record.legs[number + 1 :] if other.line == leg.line]
        if not leg.reason or leg.ended_s is None or not later:
            continue
        told: dict[str, Any] = {
            "cordee.gap.from": leg.replica,
            "cordee.gap.to": later[0].replica,
            "cordee.gap.reason": leg.reason,
            "cordee.gap.position": later[0].begins_at,
        }
        if later[0].first_s is not None:
            told["cordee.gap.duration_s"] = later[0].first_s - leg.ended_s
        made.append(_event(clock_s, leg.ended_s, "cordee.gap", told))
    return made


def _of_request(record: Record) -> dict[str, Any]:
    body = record.body
    told: dict[str, Any] = {
        "http.request.method": "POST",
        "http.route": record.route,
        "http.response.status_code": record.exchange.status,
        "gen_ai.response.id": record.id,
        "gen_ai.response.model": str(record.lines[0].body.get("model") or ""),
        "gen_ai.usage.input_tokens": record.lines[0].prompt_tokens,
        "gen_ai.usage.output_tokens": sum(leg.ids for leg in record.legs),
        "cordee.pool": record.pool,
        "cordee.outcome": record.outcome,
        "cordee.failovers": sum(1 for leg in record.legs if leg.reason),
    }
    if len(record.lines) > 1:
        told["gen_ai.request.choice.count"] = len(record.lines)
    if record.first_s is not None:
        told["cordee.time_to_first_token_s"] = record.first_s
    told |= {to: body[name] for name, to in ASKED.items() if _whole(body.get(name))}
    numbers = {to: body.get(name) for name, to in ASKED_DOUBLE.items()}
    return told | {
        to: float(value)
        for to, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _span(trace: Trace, span: str, parent: str, record: Record, kind: int) -> Span:
    operation = "chat" if record.path == CHAT else "text_completion"
    model = str(record.lines[0].body.get("model") or "")
    told = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "cordee",
        "gen_ai.request.model": model,
    }
    made: Span = {"traceId": trace.id, "spanId": span, "name": f"{operation} {model}", "kind": kind}
    if parent:
        made["parentSpanId"] = parent
    if trace.state:
        made["traceState"] = trace.state
    return made | {"flags": int(trace.flags, 16), "attributes": _attributes(told)}


def _times(clock_s: float, began_s: float, ended_s: float) -> Span:
    return {
        "startTimeUnixNano": _nanoseconds(clock_s + began_s),
        "endTimeUnixNano": _nanoseconds(clock_s + ended_s),
    }


def _event(clock_s: float, at_s: float, name: str, told: Mapping[str, Any]) -> Span:
    at = _nanoseconds(clock_s + at_s)
    return {"timeUnixNano": at, "name": name, "attributes": _attributes(told)}


def _nanoseconds(time_s: float) -> str:
    return str(int(time_s * 1e9))  # numbers of 64 bits are texts in this JSON


def _attributes(told: Mapping[str, Any]) -> list[Span]:
    return [{"key": name, "value": _value(value)} for name, value in told.items()]


def _value(value: object) -> Span:
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
