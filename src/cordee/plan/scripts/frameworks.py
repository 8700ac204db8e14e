"""Where scripts of Megatron-LM and of MindSpeed-LLM differ, as rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.plan.scripts.described import Option, option
from cordee.plan.scripts.options import Passed, meanings

TITLES = {"megatron": "Megatron-LM", "mindspeed": "MindSpeed-LLM"}
ASCEND = "github.com/Ascend/"
MODULES = "mindspeed_llm."


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(Fact):
    """An option with a value of each framework."""

    name: str
    megatron: str
    mindspeed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(Fact):
    """An option with a name in each framework."""

    megatron: str
    mindspeed: str
    where: str
    """A word that MindSpeed-LLM's script has where this holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added(Fact):
    """Options that a framework is given in place of one of the other's."""

    framework: str
    names: list[str]
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(Fact):
    """Variables of the environment that only one framework's machines read."""

    prefix: str
    framework: str


@cache
def _rows(table: str) -> tuple[Fact, ...]:
    kind = {"value": Value, "name": Name, "added": Added, "variable": Variable}[table]
    return tuple(rows(files("cordee.plan.scripts") / "frameworks.toml", kind, table=table))


@cache
def only_ascend() -> frozenset[str]:
    """Options that MindSpeed-LLM adds to those of Megatron-LM."""
    path = files("cordee.plan.scripts") / "megatron.toml"
    others = {
        name
        for row in rows(path, Passed, table="passed")
        for name in row.names
        if row.source.startswith(ASCEND)
    }
    own = {row.name for row in meanings().values() if row.source.startswith(ASCEND)}
    return frozenset(others | own)


def framework_of(names: Sequence[str]) -> str:
    """Whose options these are."""
    return "mindspeed" if only_ascend() & set(names) else "megatron"


def foreign(variable: str, framework: str) -> bool:
    """Whether a variable of the environment means nothing to that framework's machines."""
    return any(
        variable.startswith(row.prefix) and row.framework != framework
        for row in _rows("variable")
        if isinstance(row, Variable)
    )


def moved(given: Sequence[Option], framework: str) -> Iterator[Option]:
    """Options of the other framework as this one knows them; what it does not know is left out."""
    words = {word for _, values in given for word in values}
    without = {row.without for row in _rows("added") if isinstance(row, Added)}
    for name, values in given:
        renamed = _renamed(name, words, framework)
        if framework == "megatron":
            known = renamed != name or name not in only_ascend()
            # A module of MindSpeed-LLM means nothing without it.
            kept = known and not any(word.startswith(MODULES) for word in values)
        else:
            kept = name not in without
        if kept:
            yield renamed, tuple(_value(name, word, framework) for word in values)
    for row in _rows("added"):
        if isinstance(row, Added) and row.framework == framework:
            here = {name for name, _ in given}
            yield from (option(name) for name in row.names if name not in here)


def _renamed(name: str, words: set[str], framework: str) -> str:
    for row in _rows("name"):
        if isinstance(row, Name):
            other = row.mindspeed if framework == "megatron" else row.megatron
            told = row.where if framework == "megatron" else _value_of_megatron(row.where)
            if name == other and told in words:
                return row.megatron if framework == "megatron" else row.mindspeed
    return name


def _value_of_megatron(word: str) -> str:
    values = {row.mindspeed: row.megatron for row in _rows("value") if isinstance(row, Value)}
    return values.get(word, word)


def _value(name: str, word: str, framework: str) -> str:
    for row in _rows("value"):
        if isinstance(row, Value) and row.name == name:
            if framework == "megatron" and word == row.mindspeed:
                return row.megatron
            if framework == "mindspeed" and word == row.megatron:
                return row.mindspeed
    return word
