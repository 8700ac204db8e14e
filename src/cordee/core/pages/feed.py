"""What pages that follow something hear of it: server-sent events, as `live.js` reads them."""

QUIET = b": quiet\n\n"
"""That there is nothing new, and somebody to tell it."""


def told(kind: str, content: bytes) -> bytes:
    """Of a kind, such as `status`, and a line of JSON."""
    return b"event: " + kind.encode() + b"\ndata: " + content + b"\n\n"
