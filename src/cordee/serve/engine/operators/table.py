"""The operator table: what a decoder asks of a kind of chip.

Every operator keeps one promise: a row of its result depends on that row alone, bit for bit, never on
how many rows came with it. On this rest continuations that are the same on another replica.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cordee.serve.engine.checkpoint import Tensor

A = TypeVar("A")
"""An array of the chip: activations [rows, width] in the precision of the chip."""
W = TypeVar("W")
"""Weights of one linear layer, as the chip keeps them."""


class Cache(Protocol):
    """Keys and values of all layers, in blocks."""

    def block(self, number: int) -> NDArray[np.float32]:
        """[layers, 2, floats]: the keys and values of a block."""

    def set_block(self, number: int, floats: NDArray[np.float32]) -> None:
        """Fill a block with what `block` gave, here or on another engine with the same numerics."""


C = TypeVar("C", bound=Cache)

BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Rows:
    """One step of the decoder: R rows of S sequences."""

    ids: NDArray[np.int32]
    """[R] the token of each row."""
    positions: NDArray[np.int32]
    """[R] its place in its sequence; a row sees places 0 to its own."""
    sequence: NDArray[np.int32]
    """[R] which of the S sequences it belongs to."""
    tables: NDArray[np.int32]
    """[S, T] the blocks in which the keys and values of each sequence lie, 16 places each."""
    wanted: NDArray[np.int32]
    """[L] the rows whose logits are asked for."""


@dataclass(frozen=True, slots=True)
class Heads:
    """The heads of one layer that this chip works on."""

    count: int
    kv_count: int
    width: int
    window: int
    """How many positions back a row sees; 0: all."""

    @property
    def scale(self) -> float:
        return float(self.width**-0.5)


class Group(Protocol):
    """The chips that share a model."""

    def gather(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """[rows, width / chips] of each chip to [rows, width], side by side in the order of ranks."""


class Operators(Protocol[A, W, C]):
    """What each kind of chip provides."""

    name: str
    step_rows: int
    """So many rows make a step well: with more it only lasts longer."""

    def linear_weights(self, parts: Sequence[Tensor], bias: Sequence[Tensor]) -> W:
        """Bring [outputs, inputs] weights to the chip; several parts give outputs side by side."""

    def vector(self, values: NDArray[np.float32]) -> A:
        """Bring a vector or a table in float32 to the chip."""

    def cache(self, layers: int, blocks: int, heads: Heads) -> C:
        """Room for keys and values."""

    def begin(self, rows: Rows, cache: C) -> None:
        """Say what step the operators that follow belong to."""

    def again(self) -> A | None:
        """What `note` was told of a step with as many rows, made anew with the rows of this one.

        Nothing where the chip has not made such a step, or does not know how to make one at once: then what
        follows may be put off until `note`.
        """

    def note(self, result: A) -> None:
        """All that was asked for since `again` is done for every step with as many rows; this is its end."""

    def embed(self, weights: W, ids: NDArray[np.int32]) -> A:
        """`ids` are those of the step."""

    def add_table(self, x: A, table: A, positions: NDArray[np.int32]) -> None:
        """Add learned positions to x."""

    def rms_norm(self, x: A, weight: A, eps: float) -> A: ...

    def layer_norm(self, x: A, weight: A, bias: A, eps: float) -> A: ...

    def linear(self, x: A, weights: W) -> A: ...

    def add_linear(self, x: A, y: A, weights: W) -> None:
        """Add `linear(y, weights)` to x."""

    def add(self, x: A, y: A) -> None: ...

    def rotary(
        self, qkv: A, heads: Heads, norms: tuple[A, A] | None, eps: float, turns: A | None
    ) -> None:
        """Normalise the query and key heads of qkv, where asked, and turn them by their positions."""

    def attention(self, qkv: A, layer: int, heads: Heads) -> A:
        """Keep keys and values, then attend: [R, (count + 2 kv_count) width] to [R, count width]."""

    def swiglu(self, gate_up: A) -> A: ...

    def gelu(self, x: A) -> A: ...

    def wanted(self, x: A) -> A:
        """The rows of x whose logits are asked for."""

    def take(self, x: A, rows: NDArray[np.int32]) -> A: ...

    def add_scaled(self, x: A, rows: NDArray[np.int32], y: A, scales: NDArray[np.float32]) -> None:
        """Add y, each row times its scale, to the given rows of x."""

    def corrupt(self, x: A) -> None:
        """Make a weight wrong, to see whether that is found."""

    def zeros_like(self, x: A) -> A: ...

    def host(self, x: A) -> NDArray[np.float32]:
        """The values in the host's memory; valid until the next step."""

    def gather(self, x: A, group: Group) -> A:
        """What all chips of a group made, side by side."""

    def chip(self, values: NDArray[np.float32]) -> A:
        """The way back of `host`."""
