"""How the tokens of a model are read that somebody else's engine makes."""

from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.serve.text.template import Template
from cordee.serve.text.tools import dialect_of
from cordee.serve.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model's tokens are read."""

    vocabulary: Vocabulary
    dialect: str


def reading_of(folder: Path) -> Reading | None:
    """From a model folder; None where its tokenizer is none that is read here."""
    try:
        return Reading(Vocabulary(folder), dialect_of(Template(folder).text))
    except UsageError:
        return None
