"""Tool calls and thoughts in a model's text, found while it is still being written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    index: int
    id: str
    name: str
    arguments: str
    """A JSON text."""


@dataclass(frozen=True, slots=True)
class Split:
    """A piece of text, by what it is."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a family of models writes calls. Sources: the chat templates of these models."""

    begin: str
    end: str
    arguments: str


DIALECTS = {
    "hermes": Dialect("<tool_call>", "</tool_call>", "arguments"),
    "mistral": Dialect("[TOOL_CALLS]", "", "arguments"),
    "llama3": Dialect("<|python_tag|>", "", "parameters"),
}
THOUGHTS = ("<think>", "</think>")


def dialect_of(template: str | None) -> str:
    """The dialect that a chat template teaches."""
    text = template or ""
    if "[TOOL_CALLS]" in text:
        return "mistral"
    return "llama3" if "<|python_tag|>" in text or '"parameters": ' in text else "hermes"


def held_back(text: str, marks: Sequence[str]) -> int:
    """How many letters at the end of `text` may be the beginning of a mark."""
    most = min(len(text), max((len(mark) for mark in marks), default=1) - 1)
    for length in range(most, 0, -1):
        end = text[-length:]
        if any(mark.startswith(end) for mark in marks if len(mark) > length):
            return length
    return 0


class Splitter:
    """Takes text as it comes and says what each part of it is."""

    def __init__(
        self, request_id: str, dialect: str | None, *, forced: bool, thinks: bool, thinking: bool
    ) -> None:
        """`forced`: the whole text is calls in JSON; `thinking`: the text begins inside a thought."""
        self._request_id = request_id
        self._dialect = None if dialect is None or forced else DIALECTS[dialect]
        self._forced = forced
        self._thinks, self._thinking = thinks, thinking
        self._held = ""
        self._inside = forced
        self._blank = True
        self._after_thought = False
        self.calls = 0
        self.plain = not (thinks or forced or dialect)
        """Whether all text is content."""

    def feed(self, text: str, *, last: bool = False) -> Split:
        """The parts that are certain by now; with `last`, all that is left."""
        self._held += text
        if self._after_thought and not self._thinking:
            self._held = self._held.lstrip("\n")
            self._after_thought = not self._held
        reasoning = content = ""
        calls: list[Call] = []
        while True:
            if self._thinking:
                found, done = self._until(THOUGHTS[1], last)
                reasoning += found
                if not done:
                    break
                self._thinking = self._thinks = False
                self._held = self._held.lstrip("\n")
                self._after_thought = not self._held
            elif self._inside:
                made, done = self._inside_call(last)
                calls += made
                if not done:
                    break
            else:
                found_text, mark = self._outside(last)
                content += found_text
                if mark is None:
                    break
                self._thinking, self._inside = mark == THOUGHTS[0], mark != THOUGHTS[0]
        if last and self._held:
            content, self._held = content + self._held, ""
        return Split(content, reasoning, tuple(calls))

    def _outside(self, last: bool) -> tuple[str, str | None]:
        marks = [THOUGHTS[0]] if self._thinks else []
        if self._dialect:
            marks.append(self._dialect.begin)
        if self._llama_json() and not last:
            return "", None  # it may be a call without its mark, which only the end tells
        if self._llama_json() and self._calls_in(self._held):
            self._inside = True
            return "", self._dialect.begin if self._dialect else None
        places = [(self._held.find(mark), mark) for mark in marks if mark in self._held]
        if places:
            at, mark = min(places)
            found, self._held = self._held[:at], self._held[at + len(mark) :]
            if found.strip():
                self._blank = False
            return found, mark
        keep = 0 if last else held_back(self._held, marks)
        found, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        if found.strip():
            self._blank = False
        return found, None

    def _llama_json(self) -> bool:
        return (
            self._dialect is DIALECTS["llama3"]
            and self._blank
            and self._held.lstrip().startswith("{")
        )

    def _until(self, mark: str, last: bool) -> tuple[str, bool]:
        if mark in self._held:
            found, self._held = self._held.split(mark, 1)
            return found, True
        keep = 0 if last else held_back(self._held, [mark])
        cut = len(self._held) - keep
        found, self._held = self._held[:cut], self._held[cut:]
        return found, False

    def _inside_call(self, last: bool) -> tuple[list[Call], bool]:
        end = self._dialect.end if self._dialect else ""
        if end and end in self._held:
            body, rest = self._held.split(end, 1)
        elif last:
            body, rest = self._held, ""
        else:
            return [], False
        calls = self._calls_in(body)
        self._inside = False
        if calls is None:  # no call after all: the client is to see what was written
            self._held = (self._dialect.begin if self._dialect else "") + body + end + rest
            self._dialect = None
            return [], True
        self._held = rest
        made = [
            Call(self.calls + i, self._id(self.calls + i), name, arguments)
            for i, (name, arguments) in enumerate(calls)
        ]
        self.calls += len(made)
        return made, True

    def _id(self, index: int) -> str:
        # Made from the request, so that a replica that goes on with the answer gives the same.
        made = blake2b(f"{self._request_id}/{index}".encode(), digest_size=12)
        return f"call_{made.hexdigest()}"

    def _calls_in(self, body: str) -> list[tuple[str, str]] | None:
        try:
            found = json.loads(body.strip() or "null")
        except ValueError:
            return None
        calls = found if isinstance(found, list) else [found]
        key = self._dialect.arguments if self._dialect else "arguments"
        made = [_call(call, key) for call in calls]
        return [call for call in made if call] if calls and all(made) else None


def _call(found: object, key: str) -> tuple[str, str] | None:
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    arguments = found.get(key, found.get("arguments", found.get("parameters", {})))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return found["name"], text


def forced_schema(tools: Sequence[Mapping[str, object]], name: str | None) -> dict[str, object]:
    """The JSON schema of a call of one of the tools, or of the one named."""
    functions = [tool["function"] for tool in tools]
    choices = [
        {
            "type": "object",
            "properties": {
                "name": {"const": function["name"]},
                "arguments": function.get("parameters") or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
        if isinstance(function, Mapping) and name in (None, function["name"])
    ]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}
