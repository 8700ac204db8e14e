"""The rules and families that findings belong to, by code."""

from dataclasses import dataclass
from functools import cache

from cordee.port.rules import FAMILIES


@dataclass(frozen=True, slots=True)
class Named:
    """What a reader is told of a rule."""

    title: str
    family: str


def rule_named(code: str) -> Named:
    """The rule of this code; of one that is no more, its code."""
    return _rules().get(code, Named(code, "other rules"))


@cache
def _rules() -> dict[str, Named]:
    return {rule.code: Named(rule.title, f.title) for f in FAMILIES for rule in f.rules}
