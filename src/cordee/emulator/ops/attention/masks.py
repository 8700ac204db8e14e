"""Which keys a query may see: the vendor's sparse modes, given as rows of a boolean mask.

Rows come a few at a time, so that a long sequence needs no mask of its own size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require

# Rows `start` to `stop` of a mask that broadcasts to [B, N, stop - start, Skv]; True hides.
Rows = Callable[[int, int], Tensor]

COMPRESSED = 2048  # side of the triangle that stands for a mask of any size
PREFIX_ROWS = 1024  # rows below the triangle in the compressed prefix mask
EVERY_TOKEN = 2**31 - 1


class Sparse(IntEnum):
    """The vendor's `sparse_mode`."""

    DEFAULT = 0
    ALL = 1
    LEFT_UP_CAUSAL = 2
    RIGHT_DOWN_CAUSAL = 3
    BAND = 4
    PREFIX = 5
    PREFIX_COMPRESSED = 6
    RIGHT_DOWN_CAUSAL_BAND = 7
    BAND_LEFT_UP_CAUSAL = 8


_TRIANGULAR = (
    Sparse.LEFT_UP_CAUSAL,
    Sparse.RIGHT_DOWN_CAUSAL,
    Sparse.BAND,
    Sparse.RIGHT_DOWN_CAUSAL_BAND,
    Sparse.BAND_LEFT_UP_CAUSAL,
)


@dataclass(frozen=True, slots=True)
class Visibility:
    """What an operator's arguments say about which keys a query sees."""

    mask: Tensor | None = None
    mode: int = Sparse.DEFAULT
    pre_tokens: int = EVERY_TOKEN
    next_tokens: int = EVERY_TOKEN
    prefix: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.mask is None:
            return
        if self.mode not in tuple(Sparse):
            raise NotEmulated(f"attention: sparse_mode {self.mode} is not emulated")
        if self.mode in _TRIANGULAR:
            _check_compressed(self.mask, _triangle())
        elif self.mode == Sparse.PREFIX_COMPRESSED:
            _check_compressed(self.mask, _prefixed_triangle())

    def rows(self, queries: int, keys: int) -> Rows | None:
        """The mask for a batch of `queries` by `keys`; None when every key is seen."""
        if self.mask is None:
            # Documented: without atten_mask the mode and its windows have no effect.
            return None
        if self.mode == Sparse.ALL:
            return _given(self.mask, keys)
        if self.mode == Sparse.DEFAULT:
            if self.pre_tokens >= queries and self.next_tokens >= keys:
                return _given(self.mask, keys)
            return _either(_given(self.mask, keys), self._window(0, keys))
        if self.mode == Sparse.PREFIX:
            return _given(self.mask, keys)
        if self.mode == Sparse.PREFIX_COMPRESSED:
            return _causal_but_for(self.prefix, keys - queries, keys)
        if self.mode == Sparse.LEFT_UP_CAUSAL:
            return window(EVERY_TOKEN, 0, 0, keys)
        if self.mode == Sparse.RIGHT_DOWN_CAUSAL:
            return window(EVERY_TOKEN, 0, keys - queries, keys)
        return self._window(keys - queries, keys)

    def sequence(self, index: int, count: int) -> "Visibility":
        """The same for sequence `index` of `count` that lie in a row."""
        prefix = self.prefix[index : index + 1]
        mode = self.mode
        if mode == Sparse.RIGHT_DOWN_CAUSAL_BAND:
            mode = Sparse.BAND if index == count - 1 else Sparse.RIGHT_DOWN_CAUSAL
        elif mode == Sparse.BAND_LEFT_UP_CAUSAL:
            mode = Sparse.BAND if index == 0 else Sparse.LEFT_UP_CAUSAL
        return Visibility(self.mask, mode, self.pre_tokens, self.next_tokens, prefix)

    def _window(self, diagonal: int, keys: int) -> Rows:
        return window(self.pre_tokens, self.next_tokens, diagonal, keys)


def window(before: int, after: int, diagonal: int, keys: int) -> Rows:
    """Hide all keys but those from `before` ahead of the diagonal to `after` behind it."""

    def rows(start: int, stop: int) -> Tensor:
        ahead = _ahead(start, stop, diagonal, keys)
        return (ahead < -before) | (ahead > after)

    return rows


def _given(mask: Tensor, keys: int) -> Rows:
    """The caller's mask, which may be larger than needed: the vendor lets it be padded."""

    def rows(start: int, stop: int) -> Tensor:
        return mask[..., start:stop, :keys].bool()

    return rows


def _causal_but_for(prefix: tuple[int, ...], diagonal: int, keys: int) -> Rows:
    def rows(start: int, stop: int) -> Tensor:
        in_prefix = torch.arange(keys) < torch.tensor(prefix).view(-1, 1, 1, 1)
        return (_ahead(start, stop, diagonal, keys) > 0) & ~in_prefix

    return rows


def _either(first: Rows, second: Rows) -> Rows:
    return lambda start, stop: first(start, stop) | second(start, stop)


def _ahead(start: int, stop: int, diagonal: int, keys: int) -> Tensor:
    """How far each key lies ahead of each query [stop - start, keys]."""
    return torch.arange(keys) - (torch.arange(start, stop).unsqueeze(1) + diagonal)


def _check_compressed(mask: Tensor, expected: Tensor) -> None:
    # The chip reads the triangle's corners only; any other mask gives it wrong results silently.
    require(
        mask.shape[-2:] == expected.shape and mask.numel() == expected.numel(),
        (
            f"atten_mask must be {tuple(expected.shape)} in this sparse_mode, "
            f"but its shape is {tuple(mask.shape)}"
        ),
    )
    require(
        bool((mask.reshape(expected.shape).bool() == expected).all()),
        "atten_mask is not the triangle that this sparse_mode needs",
    )


@lru_cache(maxsize=1)
def _triangle() -> Tensor:
    return torch.ones(COMPRESSED, COMPRESSED, dtype=torch.bool).triu(1)


@lru_cache(maxsize=1)
def _prefixed_triangle() -> Tensor:
    below = torch.zeros(PREFIX_ROWS, COMPRESSED, dtype=torch.bool)
    below[:, COMPRESSED // 2 :] = True
    return torch.cat([_triangle(), below])
