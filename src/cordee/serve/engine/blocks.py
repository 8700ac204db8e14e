"""Which block of the cache holds which tokens: free ones, ones in use, and prefixes worth keeping."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from cordee.serve.engine.operators.table import BLOCK_TOKENS

ROOT = b""
NAME_BYTES = 16


def digest(parent: bytes, ids: Sequence[int]) -> bytes:
    """Name a block by its own tokens and, through `parent`, by all that come before.

    BLAKE2b: the same on every replica, so that one may ask another for a block.
    """
    return hashlib.blake2b(parent + np.array(ids, "<i4").tobytes(), digest_size=NAME_BYTES).digest()


def chain(ids: Sequence[int]) -> list[bytes]:
    """The names of all whole blocks of a sequence."""
    names, parent = [], ROOT
    for end in range(BLOCK_TOKENS, len(ids) + 1, BLOCK_TOKENS):
        parent = digest(parent, ids[end - BLOCK_TOKENS : end])
        names.append(parent)
    return names


class Blocks:
    """The blocks of one cache, numbered from `first`. A block is free, used, or kept for its prefix."""

    def __init__(self, count: int, first: int = 0) -> None:
        self.count = count
        self._free = list(range(first + count - 1, first - 1, -1))
        self._users: dict[int, int] = {}
        self._named: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # kept, used by nobody; oldest first

    @property
    def free(self) -> int:
        """How many can be taken: free ones, and kept ones that nobody uses."""
        return len(self._free) + len(self._idle)

    def take(self) -> int | None:
        """A block to write on, or nothing where all are in use."""
        if self._free:
            block = self._free.pop()
        elif self._idle:
            block, _ = self._idle.popitem(last=False)
            del self._named[self._names.pop(block)]
        else:
            return None
        self._users[block] = 1
        return block

    def find(self, names: Sequence[bytes]) -> list[int]:
        """The blocks of the longest known prefix, from now on used by the caller too."""
        found = []
        for name in names:
            block = self._named.get(name)
            if block is None:
                break
            self._users[block] = self._users.get(block, 0) + 1
            self._idle.pop(block, None)
            found.append(block)
        return found

    def keep(self, block: int, name: bytes) -> None:
        """Say what a block in use holds, now that it is full."""
        if name not in self._named and block not in self._names:
            self._named[name] = block
            self._names[block] = name

    def named(self, name: bytes) -> int | None:
        """The block that is kept under a name."""
        return self._named.get(name)

    def adopt(self, name: bytes) -> int | None:
        """A free block for a prefix that was computed elsewhere; none is forgotten for it.

        The first to be adopted is the last to be forgotten.
        """
        if name in self._named or not self._free:
            return None
        block = self._free.pop()
        self._named[name], self._names[block] = block, name
        self._idle[block] = None
        self._idle.move_to_end(block, last=False)
        return block

    def release(self, blocks: Sequence[int]) -> None:
        """Give blocks back; the last of a prefix is the first to be forgotten."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if self._users[block]:
                continue
            del self._users[block]
            if block in self._names:
                self._idle[block] = None
            else:
                self._free.append(block)

    def known(self) -> list[bytes]:
        """The names of all blocks that are kept, the most lately used last."""
        used = [name for block, name in self._names.items() if block not in self._idle]
        return [self._names[block] for block in self._idle] + used
