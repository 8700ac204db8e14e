"""Answers in a given form: a JSON schema, a regular expression, a choice or a grammar of llguidance."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from cordee.core.errors import UsageError
from cordee.serve.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

# As json.dumps writes it. With free spacing a model may go on with blanks for ever.
SPACING: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class GrammarError(UsageError):
    """A form that cannot be kept."""


def from_schema(schema: Mapping[str, object] | str) -> str:
    """A grammar of JSON texts of this schema."""
    try:
        return LLMatcher.grammar_from_json_schema(
            schema if isinstance(schema, str) else json.dumps(schema), overrides=SPACING
        )
    except ValueError as error:
        raise GrammarError(f"the JSON schema cannot be used: {error}") from error


def from_regex(pattern: str) -> str:
    """A grammar of texts that the regular expression matches as a whole."""
    return LLMatcher.grammar_from_regex(pattern)


def from_choice(choices: Sequence[str]) -> str:
    """A grammar of just these texts."""
    return LLMatcher.grammar_from_lark(
        "start: " + " | ".join(json.dumps(choice) for choice in choices)
    )


def from_lark(text: str) -> str:
    """A grammar as it is written for llguidance, in its variant of Lark."""
    return LLMatcher.grammar_from_lark(text)


class Grammars:
    """Makes matchers for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, logits: int) -> None:
        """`logits`: how many a model gives; often more than there are tokens."""
        self._vocabulary, self._logits = vocabulary, max(logits, vocabulary.size)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        ends = sorted(self._vocabulary.end_ids)
        return LLTokenizer(str(self._vocabulary.file), self._logits, ends or None)

    def check(self, grammar: str) -> None:
        """Raise `GrammarError` where no answer can have this form."""
        message = LLMatcher.validate_grammar(grammar, self._tokenizer)
        if message and not message.startswith("WARNING"):
            raise GrammarError(f"the form of the answer cannot be kept: {message}")

    def matcher(self, grammar: str) -> "Matcher":
        """Follow one answer from its beginning."""
        return Matcher(LLMatcher(self._tokenizer, grammar))


class Matcher:
    """Which tokens may come next."""

    def __init__(self, inner: LLMatcher) -> None:
        self._inner = inner

    def mask(self) -> NDArray[np.bool_]:
        """[logits] which tokens are allowed."""
        bits = np.frombuffer(self._inner.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little").view(np.bool_)

    def accept(self, token: int) -> None:
        """The answer went on with this token."""
        if not self._inner.is_stopped():
            self._inner.consume_token(token)
