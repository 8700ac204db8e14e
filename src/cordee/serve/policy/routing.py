"""Which replica a request goes to: where its beginning is known already, and where there is room."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

SLACK = 2
"""So many requests more than the idlest replica may one have that knows a prompt's beginning..."""
SLACK_SHARE = 0.25
"""...and this share more."""
PIECE_BYTES = 256
PIECES_MOST = 64
KNOWN_MOST = 8192


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica that could take a request."""

    name: str
    load: int
    """Requests that it has, running and waiting."""
    known: int = 0
    """How many pieces of the prompt's beginning it has seen before."""


def pick(candidates: Sequence[Candidate]) -> str | None:
    """The replica that knows most of the prompt, among those about as idle as the idlest."""
    if not candidates:
        return None
    least = min(candidate.load for candidate in candidates)
    most = least + SLACK + SLACK_SHARE * least
    near = [candidate for candidate in candidates if candidate.load <= most]
    return min(near, key=lambda c: (-c.known, c.load, c.name)).name


def split(shares: Sequence[tuple[str, float]], number: float) -> str | None:
    """The pool that a number in [0, 1) falls to, by the shares of the pools."""
    total = sum(share for _, share in shares)
    if total <= 0:
        return None
    mark, reached = number * total, 0.0
    for name, share in shares:
        reached += share
        if mark < reached and share > 0:
            return name
    return next(name for name, share in reversed(shares) if share > 0)


def pieces(prompt: bytes) -> list[bytes]:
    """Names of a prompt's beginnings, each longer than the last by a piece of equal size."""
    digest, made = blake2b(digest_size=8), []
    for start in range(0, min(len(prompt), PIECES_MOST * PIECE_BYTES), PIECE_BYTES):
        digest.update(prompt[start : start + PIECE_BYTES])
        made.append(digest.digest())
    return made


class Memory:
    """What a replica has seen: the beginnings of prompts, the oldest forgotten first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def known(self, names: Sequence[bytes]) -> int:
        """How many of the beginnings in a row it has seen."""
        count = 0
        for name in names:
            if name not in self._seen:
                break
            count += 1
        return count

    def see(self, names: Iterable[bytes]) -> None:
        """A prompt went to it."""
        for name in names:
            self._seen[name] = None
            self._seen.move_to_end(name)
        while len(self._seen) > KNOWN_MOST:
            self._seen.popitem(last=False)

    @property
    def size(self) -> int:
        """How many beginnings it has seen."""
        return len(self._seen)

    def take_over(self, other: "Memory") -> None:
        """It has what another one has."""
        self.see(other._seen)

    def forget(self) -> None:
        """It was started anew."""
        self._seen.clear()
