"""Answers of one piece, for clients who did not ask for a stream: made from the chunks of one."""

from dataclasses import dataclass, field

import msgspec

Chunk = dict[str, object]


@dataclass(slots=True)
class _Choice:
    """What the chunks of one choice have said so far."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, object]] = field(default_factory=list)
    logprobs: dict[str, list[object]] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)
    finish: object = None
    stop: object = None


class Whole:
    """The chunks of a response put together."""

    def __init__(self) -> None:
        self._head: dict[str, object] = {}
        self._choices: dict[int, _Choice] = {}
        self._prompt_ids: object = None
        self._extra: dict[str, object] = {}
        self.usage: dict[str, object] | None = None

    def add(self, chunk: Chunk) -> None:
        """Take one chunk, decoded from JSON."""
        if not self._head:
            self._head = {key: chunk.get(key) for key in ("id", "object", "created", "model")}
        if chunk.get("prompt_token_ids") is not None:
            self._prompt_ids = chunk["prompt_token_ids"]
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = usage
        if "cordee" in chunk:
            self._extra["cordee"] = chunk["cordee"]
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            self._add_choice(choice)

    def add_event(self, event: bytes) -> None:
        """Take the data of one event."""
        self.add(msgspec.json.decode(event, type=dict))

    def response(self, *, with_ids: bool = False) -> Chunk:
        """The whole response, with ids of tokens where the client asked for them."""
        chat = self._head.get("object") != "text_completion"
        choices = [
            (_message if chat else _text)(index, choice, with_ids)
            for index, choice in sorted(self._choices.items())
        ]
        head = self._head | {"object": "chat.completion" if chat else "text_completion"}
        made = head | {"choices": choices, "usage": self.usage} | self._extra
        if with_ids and self._prompt_ids is not None:
            made["prompt_token_ids"] = self._prompt_ids
        return made

    def _add_choice(self, given: dict[str, object]) -> None:
        index = given.get("index")
        choice = self._choices.setdefault(index if isinstance(index, int) else 0, _Choice())
        delta = given.get("delta")
        source = delta if isinstance(delta, dict) else {"content": given.get("text")}
        if isinstance(text := source.get("content"), str):
            choice.texts.append(text)
        if isinstance(thought := source.get("reasoning_content"), str):
            choice.reasoning.append(thought)
        calls = source.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            _add_call(choice.calls, call)
        logprobs = given.get("logprobs")
        for key, values in (logprobs if isinstance(logprobs, dict) else {}).items():
            if isinstance(values, list):
                choice.logprobs.setdefault(key, []).extend(values)
        ids = given.get("token_ids")
        if isinstance(ids, list):
            choice.ids += ids
        choice.finish = given.get("finish_reason") or choice.finish
        if given.get("stop_reason") is not None:
            choice.stop = given["stop_reason"]


def _add_call(calls: list[dict[str, object]], delta: dict[str, object]) -> None:
    """A call may come in pieces: its name first, then its arguments."""
    index = delta.get("index")
    function = delta.get("function")
    given = function if isinstance(function, dict) else {}
    place = index if isinstance(index, int) else len(calls)
    while len(calls) <= place:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[place]
    call["id"] = call["id"] or delta.get("id") or ""
    known = call["function"]
    assert isinstance(known, dict)
    known["name"] += given.get("name") or ""
    known["arguments"] += given.get("arguments") or ""


def _common(index: int, choice: _Choice, with_ids: bool) -> dict[str, object]:
    made: dict[str, object] = {
        "index": index,
        "logprobs": choice.logprobs or None,
        "finish_reason": choice.finish,
        "stop_reason": choice.stop,
    }
    if with_ids:
        made["token_ids"] = choice.ids
    return made


def _message(index: int, choice: _Choice, with_ids: bool) -> dict[str, object]:
    text = "".join(choice.texts)
    message: dict[str, object] = {
        "role": "assistant",
        "content": text if text or not choice.calls else None,
        "refusal": None,
    }
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.calls:
        message["tool_calls"] = choice.calls
    logprobs = {"content": choice.logprobs["content"], "refusal": None} if choice.logprobs else None
    return _common(index, choice, with_ids) | {"message": message, "logprobs": logprobs}


def _text(index: int, choice: _Choice, with_ids: bool) -> dict[str, object]:
    return _common(index, choice, with_ids) | {"text": "".join(choice.texts)}
