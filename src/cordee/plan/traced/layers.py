"""Which modules of a traced program are layers, and what more or fewer of them would be."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cordee.core.errors import UsageError
from cordee.plan.traced.steps import Cut
from cordee.plan.traced.trace import Call, Parameters, Rank

INDEX = re.compile(r"\.(\d+)(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Layers:
    """Those of a rank: modules of one list, which differ in their number."""

    prefix: str
    traced: int
    times: float
    """How many stand for each of them."""
    grown: float
    """By how much all trained parameters are more."""

    def weight(self, call: Call, *, of_gradients: bool) -> float:
        """How often a call of the trace is made."""
        if self.times == 1:
            return 1.0
        if self.holds(call.place.module):
            return self.times
        return self.grown if of_gradients and not call.place.module else 1.0

    def holds(self, module: str) -> bool:
        """Whether it is a layer, or in one."""
        return bool(self.prefix) and module.startswith(f"{self.prefix}.")


def layers_of(ranks: Sequence[Rank], cut: Cut, wanted: int | None) -> tuple[Layers, ...]:
    """The layers of every rank where the whole model is to have `wanted`; as traced where it is left out.

    Raises `UsageError` where no list of modules repeats.
    """
    found = [_list(calls) for calls in cut.calls]
    if wanted is None:
        return tuple(Layers(prefix, len(indexes), 1.0, 1.0) for prefix, indexes in found)
    if not all(prefix for prefix, _ in found):
        raise UsageError(
            "--layers: no module of the program is one of a list, such as GPT.blocks.0"
        )
    if wanted < 1:
        raise UsageError(f"--layers {wanted}: 1 or more")
    traced = len(set().union(*(indexes for _, indexes in found)))
    times = wanted / traced
    return tuple(
        Layers(prefix, len(indexes), times, _grown(rank.parameters, prefix, times))
        for rank, (prefix, indexes) in zip(ranks, found, strict=True)
    )


def _list(calls: Sequence[Call]) -> tuple[str, frozenset[int]]:
    """The list whose modules make most calls, the outermost of those, and their numbers in it."""
    made: dict[str, int] = defaultdict(int)
    indexes: dict[str, set[int]] = defaultdict(set)
    for call in calls:
        for match in INDEX.finditer(call.place.module):
            prefix = call.place.module[: match.start()]
            made[prefix] += 1
            indexes[prefix].add(int(match.group(1)))
    if not made:
        return "", frozenset()
    prefix = max(made, key=lambda name: (made[name], -len(name)))
    return prefix, frozenset(indexes[prefix])


def _grown(parameters: Mapping[str, Parameters], prefix: str, times: float) -> float:
    trained = {name: one.trained for name, one in parameters.items()}
    whole = sum(trained.values())
    inside = sum(n for name, n in trained.items() if name.startswith(f"{prefix}."))
    return 1 + (times - 1) * inside / whole if whole else times


def general(module: str) -> str:
    """A module's name with a star for each number: that of all layers."""
    return INDEX.sub(".*", module)
