"""Requests of the API read as wishes: what is to be generated, and from which tokens."""

import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from cordee.serve.api.errors import ApiError
from cordee.serve.api.requests import (
    Chat,
    Completion,
    Continuation,
    Generation,
    Message,
    NamedTool,
    Tool,
    prompts_of,
)
from cordee.serve.sampling import Sampling
from cordee.serve.text import grammar
from cordee.serve.text.model import Model
from cordee.serve.text.template import TemplateError
from cordee.serve.text.tools import THOUGHTS, dialect_of, forced_schema
from cordee.serve.text.wish import Wish

COMPLETION_TOKENS = 16
"""How many tokens /v1/completions gives where nobody says (OpenAI's default)."""


@dataclass(frozen=True, slots=True)
class Particulars:
    """Where the endpoints differ in what they call the same."""

    kind: Literal["chat", "completion"]
    logprobs: int | None
    max_tokens: int | None
    tooling: "Tooling"


@dataclass(frozen=True, slots=True)
class Tooling:
    """Whether calls of tools are looked for, and whether there must be one."""

    dialect: str | None = None
    forced: bool = False
    schema: dict[str, object] | None = None


def chat_wishes(request: Chat, model: Model) -> list[Wish]:
    """One wish for each choice. Raises `ApiError` where it cannot be fulfilled."""
    tooling = _tooling(request, model)
    text = prompt_of(request.messages, model, _tools(request), **_template_options(request))
    ids = model.vocabulary.encode(text, special=False)
    logprobs = (request.top_logprobs or 0) if request.logprobs else None
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs: needs logprobs", param="top_logprobs")
    thinks = THOUGHTS[0] in (model.template.text or "")
    asked = request.max_completion_tokens
    most = request.max_tokens if asked is None else asked
    wish = _wish(request, model, ids, Particulars("chat", logprobs, most, tooling))
    wish = replace(
        wish,
        thinks=thinks and not tooling.forced,
        thinking=thinks and text.rstrip().endswith(THOUGHTS[0]),
    )
    return _choices(wish, request)


def completion_wishes(request: Completion, model: Model) -> list[Wish]:
    """One wish for each choice of each prompt. Raises `ApiError` where it cannot be fulfilled."""
    if request.suffix:
        raise ApiError(400, "suffix: the model cannot fill in between", param="suffix")
    if request.best_of is not None and request.best_of != (request.n or 1):
        raise ApiError(400, "best_of: must be n; choose among n answers yourself", param="best_of")
    made: list[Wish] = []
    for prompt in prompts_of(request.prompt):
        ids = prompt
        if isinstance(ids, str):
            ids = model.vocabulary.encode(ids, special=request.add_special_tokens)
        wanted = COMPLETION_TOKENS if request.max_tokens is None else request.max_tokens
        particulars = Particulars("completion", request.logprobs, wanted, Tooling())
        wish = _wish(request, model, ids, particulars)
        if request.echo:
            wish = replace(wish, echo=True, prompt_logprobs=request.logprobs)
        made += _choices(wish, request, first=len(made))
    return made


def prompt_of(
    messages: list[Message],
    model: Model,
    tools: list[dict[str, object]] | None = None,
    *,
    prompt_follows: bool = True,
    variables: dict[str, object] | None = None,
) -> str:
    """The text of a conversation. Raises `ApiError` where the model cannot read it."""
    try:
        return model.template.render(
            [_plain(message) for message in messages],
            tools,
            prompt_follows=prompt_follows,
            variables=variables,
        )
    except TemplateError as error:
        raise ApiError(400, str(error), param="messages") from error


def _template_options(request: Chat) -> dict[str, Any]:
    if request.continue_final_message and request.messages[-1].role != "assistant":
        raise ApiError(
            400,
            "continue_final_message: the last message is not the assistant's",
            param="continue_final_message",
        )
    variables = dict(request.chat_template_kwargs or {})
    if request.reasoning_effort is not None:
        variables.setdefault("reasoning_effort", request.reasoning_effort)
    follows = request.add_generation_prompt and not request.continue_final_message
    reserved = {"messages", "tools", "add_generation_prompt"} & variables.keys()
    if reserved:
        raise ApiError(400, f"chat_template_kwargs: {reserved.pop()} has a field of its own")
    return {"prompt_follows": follows, "variables": variables}


def _plain(message: Message) -> dict[str, object]:
    """A message as templates expect it: text as one string, arguments of calls as objects."""
    made: dict[str, object] = {"role": message.role, "content": _text_of(message)}
    for name in ("name", "tool_call_id", "reasoning_content"):
        if (value := getattr(message, name)) is not None:
            made[name] = value
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": call.type,
                "function": {
                    "name": call.function.name,
                    "arguments": _object(call.function.arguments),
                },
            }
            for call in message.tool_calls
        ]
    return made


def _text_of(message: Message) -> str:
    if message.content is None:
        return ""
    if isinstance(message.content, str):
        return message.content
    wrong = [part.type for part in message.content if part.type not in ("text", "input_text")]
    if wrong:
        raise ApiError(400, f"messages: the model reads text, not {wrong[0]}", param="messages")
    return "".join(part.text for part in message.content)


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tools(request: Chat) -> list[dict[str, object]] | None:
    if not request.tools or request.tool_choice == "none":
        return None
    return [_tool(tool) for tool in request.tools]


def _tool(tool: Tool) -> dict[str, object]:
    function = msgspec.to_builtins(tool.function)
    return {
        "type": "function",
        "function": {key: value for key, value in function.items() if value is not None},
    }


def _tooling(request: Chat, model: Model) -> Tooling:
    tools, choice = _tools(request), request.tool_choice
    if not tools:
        if choice not in (None, "none", "auto"):
            raise ApiError(400, "tool_choice: needs tools", param="tool_choice")
        return Tooling()
    if choice in (None, "auto"):
        return Tooling(dialect_of(model.template.text))
    name = choice.function.name if isinstance(choice, NamedTool) else None
    names = [tool.function.name for tool in request.tools or ()]
    if name is not None and name not in names:
        raise ApiError(400, f"tool_choice: no tool is named {name}", param="tool_choice")
    return Tooling(dialect_of(model.template.text), True, forced_schema(tools, name))


def _wish(request: Generation, model: Model, ids: list[int], its: Particulars) -> Wish:
    given = request.cordee or Continuation()
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    options = request.stream_options
    return Wish(
        kind=its.kind,
        prompt_ids=tuple(_checked(ids, model)),
        sampling=_sampling(request, model, its.logprobs),
        max_tokens=_room(len(ids), its.max_tokens, model),
        min_tokens=request.min_tokens,
        stop=tuple(stop),
        stop_ids=frozenset(request.stop_token_ids or ()),
        include_stop=request.include_stop_str_in_output,
        end_ids=frozenset() if request.ignore_eos else model.vocabulary.end_ids,
        special=not request.skip_special_tokens or its.tooling.dialect == "mistral",
        grammar=_grammar(request, model, its.tooling),
        dialect=its.tooling.dialect,
        forced_call=its.tooling.forced,
        request_id=given.request_id or f"{'chatcmpl' if its.kind == 'chat' else 'cmpl'}-{_name()}",
        created=given.created or int(time.time()),
        index=given.index,
        model=request.model or model.name,
        continue_from=tuple(_checked(given.continue_from, model)),
        said=given.said,
        priority=given.priority or request.priority,
        deadline_s=given.deadline_s,
        return_ids=bool(request.return_token_ids),
        usage=not request.stream or bool(options and options.include_usage),
        usage_each=bool(options and options.continuous_usage_stats),
    )


def _name() -> str:
    return secrets.token_hex(12)


def _choices(wish: Wish, request: Generation, first: int = 0) -> list[Wish]:
    """Choice i has the seed of the request and i, whoever makes it."""
    sampling = wish.sampling
    return [
        replace(
            wish,
            index=wish.index + first + i,
            sampling=replace(sampling, seed=sampling.seed + i),
        )
        for i in range(request.n or 1)
    ]


def _sampling(request: Generation, model: Model, logprobs: int | None) -> Sampling:
    defaults = model.defaults

    def value(name: str, plain: float) -> float:
        given = getattr(request, name)
        return defaults.get(name, plain) if given is None else given

    return Sampling(
        temperature=value("temperature", 1.0),
        top_p=value("top_p", 1.0),
        top_k=max(0, int(value("top_k", 0))),
        min_p=value("min_p", 0.0),
        seed=secrets.randbits(62) if request.seed is None else request.seed,
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        repetition_penalty=value("repetition_penalty", 1.0),
        logit_bias=_bias(request),
        logprobs=logprobs,
    )


def _bias(request: Generation) -> dict[int, float]:
    try:
        made = {int(token): bias for token, bias in (request.logit_bias or {}).items()}
    except ValueError as error:
        raise ApiError(400, "logit_bias: a key is no token id", param="logit_bias") from error
    if any(token < 0 for token in made):
        raise ApiError(400, "logit_bias: a token id is negative", param="logit_bias")
    return made


def _checked(ids: list[int], model: Model) -> list[int]:
    wrong = next((i for i in ids if i >= model.logits), None)
    if wrong is not None:
        raise ApiError(400, f"the token id {wrong} is not one of the model's {model.logits}")
    return ids


def _room(prompt: int, asked: int | None, model: Model) -> int:
    most = model.max_model_len
    if not prompt:
        raise ApiError(400, "the prompt has no token", param="prompt")
    if prompt >= most or (asked is not None and prompt + asked > most):
        wanted = "" if asked is None else f", and an answer of {asked} is asked for"
        raise ApiError(
            400,
            f"the model's context has {most} tokens; the prompt has {prompt}{wanted}",
            param="max_tokens" if prompt < most else "messages",
            code="context_length_exceeded",
        )
    return most - prompt if asked is None else asked


def _grammar(request: Generation, model: Model, tooling: Tooling) -> str | None:
    try:
        made = _form(request, tooling)
        if made is not None:
            model.grammars.check(made)
    except grammar.GrammarError as error:
        raise ApiError(400, str(error), param="response_format") from error
    return made


def _form(request: Generation, tooling: Tooling) -> str | None:
    if tooling.schema is not None:
        return grammar.from_schema(tooling.schema)
    form, other = request.response_format, request.structured_outputs
    if form is not None and form.type == "json_schema":
        if form.json_schema is None or form.json_schema.schema is None:
            raise ApiError(
                400, "response_format.json_schema: has no schema", param="response_format"
            )
        return grammar.from_schema(form.json_schema.schema)
    if form is not None and form.type == "json_object":
        return grammar.from_schema({"type": "object"})
    if other is None:
        return None
    if other.json is not None:
        return grammar.from_schema(other.json)
    if other.regex is not None:
        return grammar.from_regex(other.regex)
    if other.choice is not None:
        return grammar.from_choice(other.choice)
    return None if other.grammar is None else grammar.from_lark(other.grammar)
