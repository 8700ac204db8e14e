"""What goes to a replica and what comes back, as bytes: found by search, without reading the JSON."""

import msgspec

from cordee.serve.gateway.fleet import Pool
from cordee.serve.gateway.record import CHAT, COMPLETIONS, Line, Record
from cordee.serve.gateway.seam import SAID

IDS = b',"token_ids":['
_USAGE = b'"usage":{'
_ERROR = b'data: {"error":'
_BROKEN_OFF = (b'"finish_reason":"abort"', b'"finish_reason":"error"')
DONE = b"data: [DONE]\n\n"


def ids_in(event: bytes) -> list[int] | None:
    """The ids of a chunk; None where it has none. In a text these bytes would be escaped."""
    start = event.rfind(IDS) + len(IDS)
    if start < len(IDS):
        return None
    found = event[start : event.find(b"]", start)]
    return [int(found)] if found.isdigit() else [int(i) for i in found.split(b",") if i]


def is_error(event: bytes) -> bool:
    """Whether the event is an error in the middle of a stream."""
    return event.startswith(_ERROR)


def is_broken_off(event: bytes) -> bool:
    """Whether a vLLM says that it ends an answer because it ends itself, or failed."""
    return any(reason in event for reason in _BROKEN_OFF)


def is_servers(error: dict[str, object]) -> bool:
    """Whether an error is the server's own, so that another one may answer; else the request is wrong."""
    code = error.get("code")
    return error.get("type") == "server_error" or (isinstance(code, int) and code >= 500)


def has_usage(event: bytes) -> bool:
    """Whether the event tells the usage."""
    return _USAGE in event


def usage_in(event: bytes) -> dict[str, int]:
    """The usage of a chunk."""
    chunk = msgspec.json.decode(event[len(b"data: ") :])
    usage = chunk.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return {
        "prompt": usage.get("prompt_tokens", 0),
        "completion": usage.get("completion_tokens", 0),
        "cached": details.get("cached_tokens") or 0,
    }


def usage_event(record: Record, prompt: int, completion: int, cached: int) -> bytes:
    """The last chunk of a stream whose client wants the usage."""
    kind = "chat.completion.chunk" if record.path == CHAT else "text_completion"
    chunk = {
        "id": record.id,
        "object": kind,
        "created": record.created,
        "model": record.lines[0].body.get("model", ""),
        "choices": [],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def request_body(record: Record, line: Line, pool: Pool, deadline_s: float | None) -> bytes:
    """The request for one choice; of our own engine from where its client is."""
    if pool.kind == "openai":
        plain = {key: value for key, value in line.body.items() if key != "return_token_ids"}
        return msgspec.json.encode(plain)
    if pool.kind == "vllm":
        extra = line.body.get("vllm_xargs")
        more = (extra if isinstance(extra, dict) else {}) | {SAID: 0}
        return msgspec.json.encode(line.body | ({"vllm_xargs": more} if pool.positional else {}))
    given = {
        "request_id": record.id,
        "created": record.created,
        "index": line.index,
        "continue_from": (line.prefix if line.base else line.ids).tolist(),
        "said": line.said,
        "priority": record.rank(line),
    }
    if deadline_s is not None:
        given["deadline_s"] = deadline_s
    return msgspec.json.encode(line.body | {"cordee": given})


def is_generation(path: str) -> bool:
    """Whether a request to this path is answered with a stream of tokens."""
    return path in (CHAT, COMPLETIONS)
