"""/v1/responses as a way to write and read chat completions: requests over, answers and events back."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cordee.serve.api.errors import ApiError

Json = dict[str, Any]
SAME = (
    "model",
    "temperature",
    "top_p",
    "stream",
    "user",
    "parallel_tool_calls",
    "seed",
    "top_logprobs",
)
NOT_DONE = ("background", "conversation", "prompt")
ECHOED = ("instructions", "metadata", "previous_response_id", "temperature", "top_p", "store")
"""Fields of a request that its response has too."""
NAMES = {"developer": "system"}


def items_of(body: Mapping[str, Any]) -> list[Json]:
    """What the client says, as items with names. Raises `ApiError`."""
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": [{"type": "input_text", "text": given}]}]
    if not isinstance(given, list) or not given:
        raise ApiError(400, "input: must be a text or a list of items", param="input")
    made: list[Json] = []
    for number, item in enumerate(given):
        if not isinstance(item, dict):
            raise ApiError(400, f"input[{number}]: is no object", param="input")
        named = {"type": "message", "id": f"item_{secrets.token_hex(12)}"}
        made.append(named | {name: value for name, value in item.items() if value is not None})
    return made


def chat_of(body: Mapping[str, Any], items: Sequence[Json]) -> Json:
    """The request for /v1/chat/completions that asks the same; `items`: all that was said. Raises `ApiError`."""
    for name in NOT_DONE:
        if body.get(name):
            raise ApiError(400, f"{name}: is not done here", param=name)
    messages = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    messages += _messages(items)
    made: Json = {key: body[key] for key in SAME if body.get(key) is not None}
    made["messages"] = messages
    if body.get("max_output_tokens") is not None:
        made["max_tokens"] = body["max_output_tokens"]
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        made["tools"] = [_tool(tool) for tool in tools]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    if choice is not None:
        made["tool_choice"] = choice
    form = (body.get("text") or {}).get("format") if isinstance(body.get("text"), dict) else None
    if isinstance(form, dict):
        made["response_format"] = _form(form)
    effort = body.get("reasoning")
    if isinstance(effort, dict) and effort.get("effort") is not None:
        made["reasoning_effort"] = effort["effort"]
    return made


def _messages(items: Sequence[Json]) -> list[Json]:
    made: list[Json] = []
    for number, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message":
            role = str(item.get("role", "user"))
            made.append({"role": NAMES.get(role, role), "content": _content(item, number)})
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
            call = {"id": item.get("call_id") or "", "type": "function", "function": function}
            made.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif kind == "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str) else msgspec.json.encode(output).decode()
            made.append({"role": "tool", "content": text, "tool_call_id": item.get("call_id")})
        elif kind != "reasoning":  # earlier thoughts are not read again
            raise ApiError(400, f"input[{number}]: {kind} is not read here", param="input")
    return made


def _content(item: Json, number: int) -> object:
    content = item.get("content")
    if not isinstance(content, list):
        return content
    made = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("input_text", "output_text", "text"):
            raise ApiError(400, f"input[{number}]: the model reads text, not {kind}", param="input")
        made.append({"type": "text", "text": part.get("text") or ""})
    return made


def _tool(tool: object) -> Json:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        kind = tool.get("type") if isinstance(tool, dict) else tool
        raise ApiError(400, f"tools: there are functions only, not {kind}", param="tools")
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {n: tool[n] for n in names if tool.get(n) is not None}}


def _form(form: Json) -> Json:
    if form.get("type") != "json_schema":
        return {"type": form.get("type")}
    names = ("name", "schema", "strict", "description")
    return {"type": "json_schema", "json_schema": {n: form[n] for n in names if n in form}}


class Events:
    """The events of one response, from the chunks of a chat completion."""

    def __init__(
        self, response_id: str, created: int, model: str, asked: Mapping[str, Any] | None = None
    ) -> None:
        """`asked`: the request that it answers."""
        asked = asked or {}
        self._base: Json = {
            "id": response_id,
            "object": "response",
            "created_at": created,
            "model": model,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "temperature": None,
            "top_p": None,
            "previous_response_id": None,
            "store": True,
        }
        self._base |= {name: asked[name] for name in ECHOED if asked.get(name) is not None}
        self._id = response_id
        self._number = 0
        self._text = ""
        self._thought = ""
        self._calls: list[Json] = []
        self._finish: str | None = None
        self._usage: Json | None = None

    def begin(self) -> bytes:
        """The events before the first token."""
        response = self._base | {"status": "in_progress", "output": [], "usage": None}
        item = self._message("in_progress", [])
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return b"".join(
            [
                self._event("response.created", {"response": response}),
                self._event("response.in_progress", {"response": response}),
                self._event("response.output_item.added", {"output_index": 0, "item": item}),
                self._event("response.content_part.added", self._place() | {"part": part}),
            ]
        )

    def chunk(self, chunk: Json) -> bytes:
        """The events of one chunk."""
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = usage
        made = b""
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self._finish = choice.get("finish_reason") or self._finish
            self._thought += delta.get("reasoning_content") or ""
            self._calls += delta.get("tool_calls") or ()
            text = delta.get("content") or ""
            if text:
                self._text += text
                told = self._place() | {"delta": text, "logprobs": []}
                made += self._event("response.output_text.delta", told)
        return made

    def end(self) -> bytes:
        """The events after the last token."""
        whole = self.response()
        part = {"type": "output_text", "text": self._text, "annotations": [], "logprobs": []}
        text_done = self._place() | {"text": self._text, "logprobs": []}
        made = self._event("response.output_text.done", text_done)
        made += self._event("response.content_part.done", self._place() | {"part": part})
        message = self._message("completed", [part])
        made += self._event("response.output_item.done", {"output_index": 0, "item": message})
        for number, call in enumerate(self._call_items(), 1):
            place = {"output_index": number, "item_id": call["id"]}
            begun = call | {"arguments": "", "status": "in_progress"}
            made += self._event(
                "response.output_item.added", {"output_index": number, "item": begun}
            )
            for name, key in (("delta", "delta"), ("done", "arguments")):
                told = place | {key: call["arguments"], "name": call["name"]}
                made += self._event(f"response.function_call_arguments.{name}", told)
            made += self._event("response.output_item.done", {"output_index": number, "item": call})
        kind = "response.completed" if whole["status"] == "completed" else "response.incomplete"
        return made + self._event(kind, {"response": whole})

    def failed(self, error: Json) -> bytes:
        """The event of an answer that goes no further."""
        told = {"code": error.get("code") or "server_error", "message": error.get("message")}
        response = self.response() | {"status": "failed", "error": told}
        return self._event("response.failed", {"response": response})

    def response(self) -> Json:
        """The whole response."""
        part = {"type": "output_text", "text": self._text, "annotations": [], "logprobs": []}
        output: list[Json] = []
        if self._thought:
            summary = [{"type": "summary_text", "text": self._thought}]
            output.append({"type": "reasoning", "id": f"rs_{self._id}", "summary": summary})
        if self._text or not self._calls:
            output.append(self._message("completed", [part]))
        output += self._call_items()
        cut = self._finish == "length"
        return self._base | {
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": output,
            "usage": self._counted(),
        }

    def _counted(self) -> Json | None:
        if self._usage is None:
            return None
        details = self._usage.get("prompt_tokens_details") or {}
        return {
            "input_tokens": self._usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": details.get("cached_tokens") or 0},
            "output_tokens": self._usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self._usage["total_tokens"],
        }

    def _message(self, status: str, content: list[Json]) -> Json:
        return {
            "type": "message",
            "id": f"msg_{self._id}",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _call_items(self) -> list[Json]:
        return [
            {
                "type": "function_call",
                "id": f"fc_{call.get('id')}",
                "call_id": call.get("id"),
                "name": call["function"]["name"],
                "arguments": call["function"]["arguments"],
                "status": "completed",
            }
            for call in self._calls
        ]

    def _place(self) -> Json:
        return {"item_id": f"msg_{self._id}", "output_index": 0, "content_index": 0}

    def _event(self, kind: str, told: Json) -> bytes:
        body = {"type": kind, "sequence_number": self._number, **told}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"
