"""Answers of engines that cannot be told where to go on: made again elsewhere, and only the rest is told.

An engine with the same weights and the same seed says the same again (measured with vLLM: 20 of 20). So a request
that lost its replica is asked anew, and what the client has is compared with what comes and held back. Where it
does not come again, the client is told that the answer ends here, rather than given another one's end. Answers
that vLLM continues from their tokens (seam.py) pass here too: their text is made from the first token on.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from cordee.core.errors import CordeeError
from cordee.serve.gateway.record import Line, Record

CHANNELS = ("content", "reasoning_content", "reasoning")
Chunk = dict[str, Any]


def decoded(event: bytes) -> Chunk:
    """The chunk in an event."""
    chunk: Chunk = msgspec.json.decode(event[len(b"data: ") :])
    return chunk


class Differs(CordeeError):
    """The answer did not come again as the client has it."""


@dataclass(slots=True)
class Foreign:
    """One choice, as far as the client has it and as far as the present replica is."""

    record: Record
    line: Line
    said: dict[str, str] = field(default_factory=dict)
    """Text by its channel; calls of tools as `call 0`, `name 0`."""
    prompt_ids: list[int] = field(default_factory=list)
    """As the engine told them."""
    began: bool = False
    finished: bool = False
    """Whether the client was told why the answer ends."""
    _now: dict[str, str] = field(default_factory=dict)
    _ids: int = 0

    def begin(self) -> None:
        """Another replica begins with the answer."""
        self._now, self._ids = {}, 0

    def lag(self, whole: Chunk) -> int | None:
        """How many letters apart the client and a chunk with all of it are; None where it has another text."""
        other = Foreign(self.record, self.line, dict(self.said), began=True)
        try:
            other.take(whole)
        except Differs:
            return None
        more = [
            len(other._now.get(channel, "")) - len(self.said.get(channel, ""))
            for channel in (*CHANNELS, "text")
        ]
        if max(more) > 0 > min(more):
            return None  # what is a thought there is none here
        return abs(sum(more))

    def take(self, chunk: Chunk) -> bytes | None:
        """The event for the client; None where it has all of it. Raises `Differs`."""
        choice: Chunk = chunk["choices"][0]
        for holder in (chunk, choice):
            self.prompt_ids = holder.get("prompt_token_ids") or self.prompt_ids
        telling = self._texts(choice)
        new_ids = self._ids_of(choice)
        if choice.get("token_ids") == []:
            choice["logprobs"] = None  # those of tokens that the client has
        delta = choice.get("delta") or {}
        if delta.get("tool_calls"):
            delta["tool_calls"] = [call for call in delta["tool_calls"] if self._call(call)]
            telling |= bool(delta["tool_calls"])
        first = not self.began
        self.began = True
        finish = bool(choice.get("finish_reason"))
        if not (telling or new_ids or first or finish):
            return None
        self.finished |= finish
        if not first:
            delta.pop("role", None)
            chunk.pop("prompt_token_ids", None)
            choice.pop("prompt_token_ids", None)
        choice["index"] = self.line.index
        chunk["id"], chunk["created"] = self.record.id, self.record.created
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

    def _texts(self, choice: Chunk) -> bool:
        """Cut the texts of a chunk to what is new; gives whether anything is."""
        new = False
        delta = choice.get("delta")
        holder: Chunk = delta if isinstance(delta, dict) else choice
        channels = CHANNELS if holder is delta else ("text",)
        for channel in channels:
            text = holder.get(channel)
            if isinstance(text, str) and text:
                holder[channel] = rest = self._new(channel, text)
                new |= bool(rest)
        return new

    def _new(self, channel: str, text: str) -> str:
        """What of a text in a channel is new to the client, who has it from here on."""
        before = self._now.get(channel, "")
        after = self._now[channel] = before + text
        said = self.said.get(channel, "")
        shared = min(len(said), len(after))
        if said[:shared] != after[:shared]:
            raise Differs("another text came than the client has")
        rest = after[max(len(said), len(before)) :]
        if rest:
            self.said[channel] = after
        return rest

    def _call(self, call: Chunk) -> bool:
        """Cut a piece of a call to what is new: its name is told once, and with the id of then."""
        number = call.get("index", 0)
        function = call.get("function") or {}
        name = function.get("name") and self._new(f"name {number}", function["name"])
        if not name:
            for known in ("id", "type"):
                call.pop(known, None)
            function.pop("name", None)
        arguments = self._new(f"call {number}", function.get("arguments") or "")
        function["arguments"] = arguments
        return bool(name or arguments)

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
