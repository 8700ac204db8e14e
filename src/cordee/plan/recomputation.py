"""Parts of layers that a pass backward reckons again in place of keeping what they gave, as rows."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.plan.model import Experts, LatentAttention, Layer, Model

WHOLE = ("none", "selective", "full")
"""Words beside names of parts: nothing; scores that no fused kernel keeps in the chip; whole layers."""
BESIDE = "overlaps_experts"
WITHIN = {
    "moe": frozenset({"moe_act", "moe_tokens", "shared_experts"}),
    "mlp": frozenset[str](),
}
"""Parts that are within others: with these they are not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Fact):
    """A part of a layer."""

    name: str
    what: str
    operators: list[str]
    """What is done again, by the names of plan/work."""
    needs: str = ""

    def is_in(self, layer: Layer) -> bool:
        """Whether that layer has it."""
        return not self.needs or self.needs in _traits(layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way(Fact):
    """How a software is asked for parts."""

    stacks: list[str]
    parts: list[str]
    option: str
    needs: list[str] = field(default_factory=list)
    exclusive: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Other(Fact):
    """A part that a software knows and a plan does not reckon with."""

    name: str


def _table(name: str, kind: type[Fact]) -> Iterator[Fact]:
    return rows(files("cordee.plan") / "recomputation.toml", kind, table=name)


@cache
def parts() -> Mapping[str, Part]:
    """Every one, by name."""
    return {row.name: row for row in _table("part", Part) if isinstance(row, Part)}


@cache
def others() -> frozenset[str]:
    """Names that are known, of what is not reckoned with."""
    return frozenset(row.name for row in _table("other", Other) if isinstance(row, Other))


@cache
def ways(stack: str) -> tuple[Way, ...]:
    """Those of a software, cheapest first."""
    found = (row for row in _table("way", Way) if isinstance(row, Way))
    return tuple(row for row in found if stack in row.stacks)


def unknown(name: str) -> str:
    """What is said of a name that no part has, with the nearest that one has."""
    known = [*parts(), *WHOLE]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    if name in others():
        return f"{name}: it is not reckoned with here; known are {', '.join(parts())}"
    near = f"did you mean {close[0]}? " if close else ""
    return f"{name}: no part of a layer: {near}known are {', '.join(parts())}"


def named(names: Sequence[str]) -> tuple[str, ...]:
    """What is to be reckoned again, as a user says it: one of `WHOLE`, or parts with commas or one by one.

    Raises `UsageError` where a name is not known, or where nothing or all stands beside parts.
    """
    found = [one.strip() for name in names for one in name.split(",") if one.strip()]
    for name in found:
        if name not in WHOLE and name not in parts():
            raise UsageError(f"--recompute {unknown(name)}, and none, selective, full")
    if len(found) > 1 and set(found) & set(WHOLE):
        raise UsageError(f"--recompute {', '.join(found)}: {_first(found)} stands alone")
    return tuple(dict.fromkeys(found))


def _first(found: Sequence[str]) -> str:
    return next(name for name in found if name in WHOLE)


def operators_of(names: Collection[str], layer: Layer) -> frozenset[str]:
    """Operators of that layer that are done again."""
    here = [parts()[name] for name in names if parts()[name].is_in(layer)]
    return frozenset(operator for part in here for operator in part.operators)


def missing(names: Collection[str], model: Model) -> str | None:
    """A part that no layer of the model has."""
    kinds = [layer for layer, _ in model.kinds]
    return next((name for name in names if not any(parts()[name].is_in(k) for k in kinds)), None)


def ladder(model: Model, stack: str, *, beside: bool) -> Iterator[tuple[tuple[str, ...], Way]]:
    """Parts that a software can reckon again, each time some more; and the way that came last.

    `beside`: whether tokens travel to experts beside other work.
    """
    found: list[str] = []
    traits = {trait for layer, _ in model.kinds for trait in _traits(layer)}
    traits |= {BESIDE} if beside else set()
    for way in ways(stack):
        if missing(way.parts, model) or not traits.issuperset(way.needs):
            continue
        within = {inner for name in way.parts for inner in WITHIN.get(name, ())}
        found = [*(name for name in found if name not in within), *way.parts]
        yield tuple(found), way


def options(names: Sequence[str], stack: str) -> list[str]:
    """How that software is asked for them, or where a part has no way there, its name alone."""
    found = dict.fromkeys(way.option for way in ways(stack) if set(way.parts) <= set(names))
    return list(found)


def _traits(layer: Layer) -> set[str]:
    found = {"latent attention"} if isinstance(layer.attention, LatentAttention) else set()
    if isinstance(layer.mlp, Experts):
        found.add("experts")
        found |= {"a shared expert"} if layer.mlp.shared else set()
    else:
        found.add("an MLP")
    return found
