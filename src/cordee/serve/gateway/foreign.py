"""Answers of engines that cannot be told where to go on: made again elsewhere, and only the rest is told.

An engine with the same weights and the same seed says the same again (measured with vLLM: 20 of 20). So a request
that lost its replica is asked anew, and what the client has is compared with what comes and held back. Where it
does not come again, the client is told that the answer ends here, rather than given another one's end.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from cordee.core.errors import CordeeError
from cordee.serve.gateway.record import Line, Record

CHANNELS = ("content", "reasoning_content", "reasoning")
Chunk = dict[str, Any]


class Differs(CordeeError):
    """The answer did not come again as the client has it."""


@dataclass(slots=True)
class Foreign:
    """One choice, as far as the client has it and as far as the present replica is."""

    record: Record
    line: Line
    said: dict[str, str] = field(default_factory=dict)
    calls: bool = False
    """Whether calls of tools were told, which are not compared."""
    began: bool = False
    _now: dict[str, str] = field(default_factory=dict)
    _ids: int = 0

    def begin(self) -> None:
        """Another replica begins with the answer."""
        self._now, self._ids = {}, 0

    def take(self, event: bytes) -> bytes | None:
        """The event for the client; None where it has all of it. Raises `Differs`."""
        chunk: Chunk = msgspec.json.decode(event[len(b"data: ") :])
        choices = chunk.get("choices")
        if not choices:
            return event
        choice: Chunk = choices[0]
        telling = self._texts(choice)
        telling |= self._ids_of(choice)
        delta = choice.get("delta") or {}
        if delta.get("tool_calls"):
            if self.calls and self._behind():
                raise Differs("calls of tools were told already")
            self.calls = telling = True
        first = not self.began
        self.began = True
        if not (telling or first or choice.get("finish_reason")):
            return None
        if not first:
            delta.pop("role", None)
            chunk.pop("prompt_token_ids", None)
        choice["index"] = self.line.index
        chunk["id"], chunk["created"] = self.record.id, self.record.created
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

    def _behind(self) -> bool:
        return any(len(self._now.get(k, "")) < len(v) for k, v in self.said.items())

    def _texts(self, choice: Chunk) -> bool:
        """Cut the texts of a chunk to what is new; gives whether anything is."""
        new = False
        delta = choice.get("delta")
        holder: Chunk = delta if isinstance(delta, dict) else choice
        channels = CHANNELS if holder is delta else ("text",)
        for channel in channels:
            text = holder.get(channel)
            if not isinstance(text, str) or not text:
                continue
            before = self._now.get(channel, "")
            after = self._now[channel] = before + text
            said = self.said.get(channel, "")
            shared = min(len(said), len(after))
            if said[:shared] != after[:shared]:
                raise Differs("another text came than the client has")
            rest = after[max(len(said), len(before)) :]
            holder[channel] = rest
            if rest:
                self.said[channel] = after
                new = True
        return new

    def _ids_of(self, choice: Chunk) -> bool:
        ids = choice.get("token_ids")
        if not isinstance(ids, list):
            return False
        known = self.line.ids
        rest = []
        for token in ids:
            if self._ids < len(known):
                if known[self._ids] != token:
                    raise Differs("other tokens came than the client has")
            else:
                known.append(token)
                rest.append(token)
            self._ids += 1
        choice["token_ids"] = rest
        return bool(rest)
