"""The chat template of a model: messages to the text that the model was trained on."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cordee.core.errors import UsageError
from cordee.serve.text.vocabulary import content_of, read_json

TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


class TemplateError(UsageError):
    """The template cannot say these messages."""


class Template:
    """A template in Jinja, in a sandbox: model folders come from strangers."""

    def __init__(self, folder: Path) -> None:
        """Read chat_template.jinja or tokenizer_config.json. Raises `UsageError` where it is broken."""
        config = read_json(folder / "tokenizer_config.json")
        own = folder / "chat_template.jinja"
        given = own.read_text("utf-8") if own.exists() else config.get("chat_template")
        if isinstance(given, list):  # several, by name
            named = {t.get("name"): t.get("template") for t in given if isinstance(t, dict)}
            given = named.get("default") or next(iter(named.values()), None)
        self.text = given if isinstance(given, str) else None
        self._variables = {name: content_of(config.get(name)) or "" for name in TOKENS}
        try:
            self._template = None if self.text is None else _environment().from_string(self.text)
        except jinja2.TemplateError as error:
            raise UsageError(f"{folder}: the chat template is broken: {error}") from error

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        *,
        prompt_follows: bool = True,
        variables: Mapping[str, object] | None = None,
    ) -> str:
        """The text of a conversation, ready for the model's answer.

        Where `prompt_follows` is false the last message is left open, to be gone on with.
        Raises `TemplateError` where the model has no template, or it refuses these messages.
        """
        if self._template is None:
            raise TemplateError(
                "this model has no chat template: use /v1/completions, or add chat_template.jinja"
            )
        try:
            text = self._template.render(
                messages=list(messages),
                tools=list(tools) if tools else None,
                add_generation_prompt=prompt_follows,
                **{**self._variables, **(variables or {})},
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise TemplateError(f"the chat template refuses these messages: {error}") from error
        if prompt_follows or not messages:
            return text
        last = str(messages[-1].get("content") or "")
        end = text.rfind(last) + len(last)
        return text[:end]


class _Generation(Extension):
    """{% generation %} marks what the model says, for training; here it is only passed through."""

    tags = {"generation"}  # noqa: RUF012 - as the class above has it

    def parse(self, parser: Parser) -> Node | list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    # As transformers renders them: utils/chat_template_utils.py.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: (
        datetime.datetime.now().astimezone().strftime(form)
    )
    return environment


def _to_json(value: object, indent: int | None = None, **options: bool) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)  # type: ignore[arg-type]


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
