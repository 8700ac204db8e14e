"""Attention for inference: each sequence of a batch to the tokens of its own cache."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention import layouts
from cordee.emulator.ops.attention.decoding import decoded
from cordee.emulator.ops.attention.dense import HIGHEST, LOWEST, Attended, Terms, attend
from cordee.emulator.ops.attention.masks import Sparse, Visibility
from cordee.emulator.ops.attention.paged import block_tokens, blocks_view, gathered
from cordee.emulator.ops.attention.position import GivenBias
from cordee.emulator.ops.attention.scales import (
    Antiquant,
    as_float,
    weights_as_int8,
)
from cordee.emulator.ops.demands import require

# Modes whose mask is the compressed triangle.
COMPRESSED_MODES = (Sparse.LEFT_UP_CAUSAL, Sparse.RIGHT_DOWN_CAUSAL, Sparse.BAND)


class Cache(NamedTuple):
    """Keys or values in one of the vendor's layouts, and how to read their numbers."""

    tensor: Tensor
    antiquant: Antiquant | None = None
    shared: Tensor | None = None  # tokens before everyone's own
    rope: Tensor | None = None  # the rotary part of every token


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Scales of attention that multiplies integers."""

    scores: Tensor  # makes numbers of query by key
    weights: Tensor  # makes integers of the softmax
    out: Tensor  # makes numbers of weights by value


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What the operators are told besides query, key and value."""

    layout: str
    heads: int
    key_heads: int
    scale: float
    mask: Tensor | None = None
    mode: int = Sparse.DEFAULT
    pre_tokens: int
    next_tokens: int
    pse: Tensor | None = None
    query_lengths: tuple[int, ...] = ()
    key_lengths: tuple[int, ...] = ()
    query_padding: int | None = None
    key_padding: int | None = None
    block_table: Tensor | None = None
    block_size: int = 0
    shared_length: int | None = None
    sink: Tensor | None = None
    products: Products | None = None
    decodes: bool = False  # one query a sequence, for which modes and windows mean nothing

    def __post_init__(self) -> None:
        require(
            self.heads > 0,
            f"num_heads should be greater than 0, but the actual value is {self.heads}",
        )
        require(
            self.heads % self.key_heads == 0,
            (f"{self.heads} query heads cannot share {self.key_heads} heads of key and value"),
        )
        require(
            self.mode not in COMPRESSED_MODES or self.decodes or self.mask is not None,
            f"sparse_mode {self.mode} needs an atten_mask",
        )
        if self.mode > Sparse.BAND:
            raise NotEmulated(f"attention for inference: sparse_mode {self.mode} is not emulated")

    @property
    def packed(self) -> bool:
        """Whether sequences lie in a row."""
        return self.layout in layouts.PACKED


class Turn(NamedTuple):
    """One sequence: its queries in the query tensor, and its tokens in the cache."""

    number: int
    batch: int
    queries: slice
    keys: slice


def infer(plan: Inference, query: Tensor, key: Cache, value: Cache) -> Attended:
    """Attention of `query` [B, N, S, D]; rows outside every sequence give zeros."""
    require(
        plan.block_table is None or plan.block_size in (0, block_tokens(key.tensor)),
        (f"block_size is {plan.block_size}, but key has blocks of {block_tokens(key.tensor)}"),
    )
    if _only_decodes(plan, query, key, value):
        assert plan.block_table is not None
        keys, values = (blocks_view(cache.tensor, plan.key_heads) for cache in (key, value))
        lengths = [_of(plan.key_lengths, index) or 0 for index in range(query.shape[0])]
        return decoded(query, keys, values, plan.block_table, lengths, plan.scale)
    rows = query.shape[:3]
    parts: Attended | None = None
    for turn in _turns(plan, query, key):
        queries = query[turn.batch : turn.batch + 1, :, turn.queries]
        keys, values = (_tokens(plan, cache, turn) for cache in (key, value))
        found = _attended(plan, turn, queries, keys, values)
        if parts is None:
            size = found.out.shape[-1]
            parts = Attended(
                torch.zeros(*rows, size),
                torch.full((*rows, 1), LOWEST),
                torch.full((*rows, 1), HIGHEST),
            )
        for whole, part in zip(parts, found, strict=True):
            whole[turn.batch, :, turn.queries] = part[0]
    assert parts is not None, "a batch has at least one sequence"
    return parts


def _only_decodes(plan: Inference, query: Tensor, key: Cache, value: Cache) -> bool:
    """Whether each sequence has one query, and nothing matters but its blocks and its length."""
    plain = all(cache[1:] == (None, None, None) for cache in (key, value))
    others = (plan.mask, plan.pse, plan.sink, plan.products, plan.query_padding, plan.key_padding)
    paged = plan.block_table is not None and bool(plan.key_lengths)
    return paged and plan.decodes and plain and not plan.query_lengths and others == (None,) * 6


def _turns(plan: Inference, query: Tensor, key: Cache) -> Iterator[Turn]:
    if plan.packed:
        require(
            bool(plan.query_lengths) and bool(plan.key_lengths),
            f"input_layout {plan.layout} needs the lengths of query and of key",
        )
        queries = layouts.spans(plan.query_lengths)
        # Documented: in a cache of blocks the lengths are each sequence's own.
        keys = (
            layouts.spans(plan.key_lengths)
            if plan.block_table is None
            else [slice(0, length) for length in plan.key_lengths]
        )
        for index, (rows, tokens) in enumerate(zip(queries, keys, strict=False)):
            yield Turn(index, 0, rows, tokens)
        return
    tokens_at_most = _cache_length(plan, key)
    for index in range(query.shape[0]):
        rows = _span(query.shape[2], _of(plan.query_lengths, index), plan.query_padding)
        tokens = _span(tokens_at_most, _of(plan.key_lengths, index), plan.key_padding)
        yield Turn(index, index, rows, tokens)


def _attended(plan: Inference, turn: Turn, query: Tensor, key: Tensor, value: Tensor) -> Attended:
    lengths = (query.shape[2], key.shape[2])
    terms = Terms(
        scale=plan.scale,
        hidden=_visibility(plan, turn, lengths).rows(*lengths),
        bias=None if plan.pse is None else GivenBias(_window(plan, plan.pse, turn, lengths)),
        sink=plan.sink,
    )
    if plan.products is None:
        return attend(query, key, value, terms)
    return _attended_in_integers(plan.products, query, key, value, terms)


def _attended_in_integers(
    products: Products, query: Tensor, key: Tensor, value: Tensor, terms: Terms
) -> Attended:
    scores, out = (float(as_float(scale).flatten()[0]) for scale in (products.scores, products.out))
    rounded = weights_as_int8(products.weights)
    found = attend(query.float() * scores, key, value, terms, rounded)
    return found._replace(out=found.out * out)


def _visibility(plan: Inference, turn: Turn, lengths: tuple[int, int]) -> Visibility:
    mask, mode = plan.mask, plan.mode
    if mask is None or (plan.decodes and mode in COMPRESSED_MODES):
        return Visibility()
    if mode in COMPRESSED_MODES:
        return Visibility(mask, mode, plan.pre_tokens, plan.next_tokens)
    if plan.decodes:
        mode = Sparse.ALL
    return Visibility(
        _window(plan, _four_axes(mask, plan), turn, lengths),
        mode,
        plan.pre_tokens,
        plan.next_tokens,
    )


def _window(plan: Inference, table: Tensor, turn: Turn, lengths: tuple[int, int]) -> Tensor:
    """What `table` [B or 1, N or 1, Sq, Skv] has for one sequence."""
    rows = slice(0, lengths[0]) if plan.packed else turn.queries
    first = 0 if plan.packed or plan.block_table is not None else turn.keys.start
    own = table[turn.number : turn.number + 1] if table.shape[0] > 1 else table
    return own[:, :, rows, first : first + lengths[1]]


def _four_axes(mask: Tensor, plan: Inference) -> Tensor:
    if mask.dim() == 2:
        # One query a sequence: the documents give the mask a row for each sequence.
        return mask[:, None, None] if plan.decodes else mask[None, None]
    return mask.unsqueeze(1) if mask.dim() == 3 else mask


def _tokens(plan: Inference, cache: Cache, turn: Turn) -> Tensor:
    """The tokens [1, N, S, D] that one sequence attends to."""
    blocks = None if plan.block_table is None else plan.block_table[turn.number]
    found = _own(plan, cache.tensor, blocks, turn)
    if cache.antiquant is not None:
        found = cache.antiquant.restored(found, turn.number, blocks, turn.keys.start)
    if cache.rope is not None:
        found = torch.cat([found, _own(plan, cache.rope, blocks, turn)], dim=-1)
    if cache.shared is None:
        return found
    shared = layouts.to_bnsd(cache.shared, plan.layout, plan.key_heads)[:, :, : plan.shared_length]
    if cache.antiquant is not None:
        shared = cache.antiquant.restored(shared, 0, None, 0)
    return torch.cat([shared, found], dim=2)


def _own(plan: Inference, cache: Tensor, blocks: Tensor | None, turn: Turn) -> Tensor:
    if blocks is not None:
        return gathered(cache, blocks, turn.keys.stop - turn.keys.start, plan.key_heads)
    stored = layouts.to_bnsd(cache, plan.layout, plan.key_heads)
    return stored[turn.batch : turn.batch + 1, :, turn.keys]


def _cache_length(plan: Inference, key: Cache) -> int:
    if plan.block_table is not None:
        require(bool(plan.key_lengths), "block_table needs the lengths of key and value")
        return plan.block_table.shape[1] * block_tokens(key.tensor)
    return layouts.to_bnsd(key.tensor, plan.layout, plan.key_heads).shape[2]


def _span(size: int, length: int | None, padding: int | None) -> slice:
    """The tokens in use of `size`: the first ones, or the last ones before `padding`."""
    if length is None:
        return slice(0, size)
    if padding is None:
        return slice(0, length)
    stop = size - max(padding, 0)
    start = stop - length
    # Documented: tokens that would begin or end before the cache leave nothing to attend to.
    return slice(start, stop) if start >= 0 else slice(0, 0)


def _of(lengths: tuple[int, ...], index: int) -> int | None:
    if not lengths:
        return None
    return lengths[0] if len(lengths) == 1 else lengths[index]
