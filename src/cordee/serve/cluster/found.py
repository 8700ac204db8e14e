"""What a cluster tells of its engines, whichever cluster it is, and what its chips are called there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True)
class Found:
    """An engine in a cluster."""

    name: str
    url: str
    ready: bool
    ending: bool
    """It finishes what it has, and takes no more."""


class Cluster(Protocol):
    """Knows where engines are."""

    @property
    def trouble(self) -> str:
        """Why there are fewer than there should be, where that is known."""

    async def engines(self) -> Sequence[Found]:
        """Those that there are. Raises `CordeeError` where that cannot be found out."""


@dataclass(frozen=True, slots=True)
class Resource(Fact):
    """How a system that hands out chips calls those of a device."""

    system: str
    device: str
    name: str


@cache
def resource(system: str, device: str) -> str | None:
    """The name of a device's chips; None where it has none that are counted."""
    table = files("cordee.serve.cluster") / "resources.toml"
    found = [row for row in rows(table, Resource) if (row.system, row.device) == (system, device)]
    return found[0].name if found else None
