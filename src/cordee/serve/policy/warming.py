"""From which peer a replica that starts takes the prefixes that are asked for often."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A replica of the same pool that is ready."""

    name: str
    known: int
    """How many beginnings of prompts went to it."""
    load: int
    """Requests that it has."""


def source(peers: Sequence[Peer]) -> Peer | None:
    """Who has seen most; of equals who has least to do. None where nobody has seen anything."""
    found = max(peers, key=lambda peer: (peer.known, -peer.load, peer.name), default=None)
    return found if found is not None and found.known else None
