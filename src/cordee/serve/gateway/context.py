"""The trace that a request belongs to, as services tell one another: w3.org/TR/trace-context."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request belongs in a trace that may go through many services."""

    id: str
    span: str
    """Of the request here; where no spans are made, the client's own."""
    parent: str
    flags: str
    state: str
    begins: bool
    """Whether the gateway makes spans at all."""

    @property
    def sampled(self) -> bool:
        """Whether there is to be a span of the request here."""
        return self.begins and bool(int(self.flags, 16) & 1)

    def below(self) -> str:
        """A name for a span below that of the request; none where there is to be no span."""
        return secrets.token_hex(8) if self.sampled else ""

    def headers(self, span: str) -> Mapping[str, str]:
        """What an engine is told, so that its spans are below `span`."""
        made = {"traceparent": f"00-{self.id}-{span or self.span}-{self.flags}"}
        return made | {"tracestate": self.state} if self.state else made


def trace_of(headers: Mapping[str, str], *, begins: bool) -> Trace | None:
    """The trace that a client's headers name; else a new one where the gateway `begins` traces."""
    found = PARENT.fullmatch(headers.get("traceparent", "").strip())
    if found is not None and set(found[1]) != {"0"} and set(found[2]) != {"0"}:
        span = secrets.token_hex(8) if begins else found[2]
        return Trace(found[1], span, found[2], found[3], headers.get("tracestate", ""), begins)
    if not begins:
        return None
    return Trace(secrets.token_hex(16), secrets.token_hex(8), "", "01", "", begins)
