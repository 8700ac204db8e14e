"""What errors other planners have on published results."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer(Fact):
    """What another planner's error is on a family."""

    peer: str
    family: str
    mean_error: float
    results: tuple[str, ...] = ()
    """Which of ours it was run on, where these are no family otherwise."""


@cache
def peers() -> tuple[Peer, ...]:
    """Every figure of another planner."""
    return tuple(rows(files("cordee.plan.validation") / "peers.toml", Peer))
