"""What a cluster tells of its engines, whichever cluster it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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
