"""What is to be known of a traced program: which step of it, how many layers, on how many chips."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from cordee.core.errors import UsageError
from cordee.plan.traced.groups import Communicators, communicators
from cordee.plan.traced.layers import Layers, general, layers_of
from cordee.plan.traced.operators import Work, work_of
from cordee.plan.traced.steps import Cut, cut
from cordee.plan.traced.target import LAUNCH_S
from cordee.plan.traced.trace import Call, Rank, Signature
from cordee.plan.work.operators import Matmul


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be known of a traced program."""

    name: str
    ranks: tuple[Rank, ...]
    cut: Cut
    layers: tuple[Layers, ...]
    """Of each rank."""
    words: Communicators
    chips: int
    steps: float | None = None
    """Of the whole run."""
    launch_s: float = LAUNCH_S
    tf32: bool = False
    """Whether products in float32 may be in fewer bits, where a chip has that."""
    factor: float = 1.0
    """By how much longer a step was measured than it is predicted."""

    @property
    def copies(self) -> int:
        """How many of the traced program run, on other data."""
        return self.chips // len(self.ranks)

    @property
    def flops(self) -> float:
        """Of products and attention in a step of the traced program."""
        found = 0.0
        for calls, layers, after in zip(
            self.cut.calls, self.layers, self.cut.backward_from, strict=True
        ):
            for index, call in enumerate(calls):
                work = works(call.signature)
                if work.flops:
                    found += work.flops * layers.weight(call, of_gradients=index >= after)
        return found

    @property
    def is_mixture(self) -> bool:
        """Whether products of experts are in it."""
        return any(
            isinstance(one, Matmul) and one.is_expert
            for calls in self.cut.calls
            for call in calls
            for one in works(call.signature).work
        )


@cache
def works(signature: Signature) -> Work:
    """What a call takes, reckoned once for each signature."""
    return work_of(signature)


def ask(  # noqa: PLR0913 - an argument is an option
    name: str,
    ranks: Sequence[Rank],
    *,
    chips: int | None = None,
    layers: int | None = None,
    step: int | None = None,
    steps: float | None = None,
    launch_s: float = LAUNCH_S,
    tf32: bool = False,
) -> Asked:
    """Look for the step of a trace. Raises `UsageError` where the number of chips does not go with it."""
    found = cut(ranks, step)
    many = len(ranks)
    chips = chips or many
    if chips % many:
        nearest_ = max(chips // many, 1) * many
        raise UsageError(
            f"--chips {chips}: the program was traced on {many}, and whole copies of it run: {nearest_} would"
        )
    words = [
        [(call.place.phase, work) for call in calls if (work := works(call.signature)).collective]
        for calls in found.calls
    ]
    return Asked(
        name=name,
        ranks=tuple(ranks),
        cut=found,
        layers=layers_of(ranks, found, layers),
        words=communicators(ranks, words, trains=found.trains),
        chips=chips,
        steps=steps,
        launch_s=launch_s,
        tf32=tf32,
    )


def module_of(call: Call) -> str:
    if call.place.module:
        return general(call.place.module)
    return call.place.phase if call.place.phase != "other" else "outside modules"


def module_numbers(cut: Cut) -> dict[str, int]:
    """A number for each module, layers' under one."""
    names: dict[str, int] = {}
    for calls in cut.calls:
        for call in calls:
            names.setdefault(module_of(call), len(names))
    return names
