"""What options of `vllm serve` and of SGLang's server mean to a plan, as rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import F, Fact, rows

TABLE = files("cordee.plan.scripts") / "serving.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Same(Fact):
    """Options that say the same in both engines, or make no difference to a plan."""

    vllm: list[str]
    sglang: list[str]

    def names(self, engine: str) -> list[str]:
        """What that engine calls it; the first is the one to write."""
        return self.vllm if engine == "vllm" else self.sglang


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant(Same):
    """Options that a plan reckons with."""

    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Word(Fact):
    """A word of --quantization, or the ending of a model's name, and the dtype that it stands for."""

    word: str
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Fact):
    """A model whose published weights have few bits."""

    model: str
    dtype: str


@cache
def _table(name: str, kind: type[F]) -> tuple[F, ...]:
    return tuple(rows(TABLE, kind, table=name))


def fields(engine: str) -> Mapping[str, str]:
    """Options of that engine that a plan reckons with, and what they say."""
    return {name: row.field for row in _table("row", Meant) for name in row.names(engine)}


def option(field: str, engine: str) -> str:
    """What that engine calls it."""
    names: dict[str, list[str]] = {row.field: row.names(engine) for row in _table("row", Meant)}
    return names[field][0]


def others(engine: str) -> Mapping[str, Same]:
    """Options that make no difference, by that engine's names."""
    return {name: row for row in _table("same", Same) for name in row.names(engine)}


def precisions() -> Mapping[str, str]:
    """Words of --quantization."""
    return {row.word: row.dtype for row in _table("precision", Word)}


def endings() -> Mapping[str, str]:
    """Endings of names that leave the sizes as they are, with the dtype that they tell."""
    return {row.word: row.dtype for row in _table("ending", Word)}


def stored() -> Mapping[str, str]:
    """What the published weights of models are in, where that is not bf16."""
    return {row.model: row.dtype for row in _table("stored", Stored)}
