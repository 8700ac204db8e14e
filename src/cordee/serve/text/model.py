"""What is known of a model without its weights: how it reads and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cordee.serve.text.grammar import Grammars
from cordee.serve.text.template import Template
from cordee.serve.text.vocabulary import Vocabulary, read_json

DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class Model:
    """One served model."""

    name: str
    vocabulary: Vocabulary
    template: Template
    grammars: Grammars
    logits: int
    """How many logits it gives."""
    max_model_len: int
    """The most tokens that a prompt and its answer may have together."""
    defaults: Mapping[str, float]
    """How its makers want it sampled where a request says nothing: generation_config.json."""


def read_model(folder: Path, name: str, logits: int, max_model_len: int) -> Model:
    """The tokenizer, template and defaults in `folder`. Raises `UsageError` where they are broken."""
    vocabulary = Vocabulary(folder)
    given = read_json(folder / "generation_config.json")
    defaults = {
        key: float(value)
        for key in DEFAULTS
        if isinstance(value := given.get(key), int | float) and not isinstance(value, bool)
    }
    grammars = Grammars(vocabulary, logits)
    return Model(name, vocabulary, Template(folder), grammars, logits, max_model_len, defaults)
