"""npu_block_sparse_attention: a mask says which blocks of keys each block of queries sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.emulator.ops.attention.dense import Attended, Terms, attend, attend_grad
from cordee.emulator.ops.attention.layouts import from_bnsd, to_bnsd
from cordee.emulator.ops.attention.masks import Rows
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_block_sparse_attention"))

DEFAULT_BLOCK = (128, 128)


@dataclass(frozen=True, slots=True)
class BlockSparse:
    """What the operators are told besides query, key and value."""

    mask: Tensor  # [B, N, blocks of queries, blocks of keys]
    block: tuple[int, int]  # queries and keys in a block
    layouts: tuple[str, str]  # of query, and of key and value
    key_heads: int
    scale: float
    query_lengths: tuple[int, ...]
    key_lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        for layout, lengths, name in (
            (self.layouts[0], self.query_lengths, "actual_seq_lengths"),
            (self.layouts[1], self.key_lengths, "actual_seq_lengths_kv"),
        ):
            require(
                layout != "TND" or bool(lengths),
                f"{name} must be specified when its layout is TND",
            )


class Piece(NamedTuple):
    """One sequence in tensors [B, N, S, D]."""

    query: tuple[slice, slice, slice]
    key: tuple[slice, slice, slice]
    terms: Terms


@chapter.reference("npu::npu_block_sparse_attention")
def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    block_sparse_mask: Tensor,
    block_shape: list[int],
    q_input_layout: str = "TND",
    kv_input_layout: str = "TND",
    num_key_value_heads: int = 1,
    scale_value: float = 0.0,
    inner_precise: int = 1,
    actual_seq_lengths: list[int] | None = None,
    actual_seq_lengths_kv: list[int] | None = None,
    softmax_lse_flag: int | None = 0,
) -> tuple[Tensor, Tensor]:
    """Attention, and the logarithm of each row's sum [B, N, S, 1] or [T, N, 1]."""
    plan = BlockSparse(
        block_sparse_mask,
        (block_shape[0], block_shape[1]),
        (q_input_layout, kv_input_layout),
        num_key_value_heads,
        scale_value,
        tuple(actual_seq_lengths or ()),
        tuple(actual_seq_lengths_kv or ()),
    )
    rows, keys, values = _views(plan, query, key, value)
    out = torch.zeros(*rows.shape[:3], values.shape[-1])
    lse = torch.zeros(*rows.shape[:3], 1)
    for piece in _pieces(plan, rows, keys):
        found = attend(rows[piece.query], keys[piece.key], values[piece.key], piece.terms)
        out[piece.query], lse[piece.query] = found.out, found.lse
    return from_bnsd(out, q_input_layout).to(query.dtype), from_bnsd(lse, q_input_layout)


@chapter.reference(
    "npu::npu_block_sparse_attention_backward",
    source=code_of("opapi/BlockSparseAttentionBackwardKernelNpuOpApi.cpp"),
)
def block_sparse_attention_backward(
    d_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_out: Tensor,
    softmax_lse: Tensor,
    block_sparse_mask: Tensor,
    block_shape: list[int] | None,
    actual_seq_lengths: list[int] | None,
    actual_seq_lengths_kv: list[int] | None,
    q_input_layout: str,
    kv_input_layout: str,
    num_key_value_heads: int,
    scale_value: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    block = DEFAULT_BLOCK if not block_shape else (block_shape[0], block_shape[1])
    plan = BlockSparse(
        block_sparse_mask,
        block,
        (q_input_layout, kv_input_layout),
        num_key_value_heads,
        scale_value,
        tuple(actual_seq_lengths or ()),
        tuple(actual_seq_lengths_kv or ()),
    )
    rows, keys, values = _views(plan, query, key, value)
    grad, out, lse = (
        to_bnsd(tensor, q_input_layout, rows.shape[1])
        for tensor in (d_out, attention_out, softmax_lse)
    )
    grads = [torch.zeros(tensor.shape) for tensor in (rows, keys, values)]
    for piece in _pieces(plan, rows, keys):
        # exp(score - lse) are the weights already: maximum lse, sum one.
        logs = lse[piece.query]
        attended = Attended(out[piece.query], logs, torch.ones_like(logs))
        inputs = (rows[piece.query], keys[piece.key], values[piece.key], grad[piece.query])
        found = attend_grad(*inputs, attended, piece.terms)
        grads[0][piece.query] += found.query
        grads[1][piece.key] += found.key
        grads[2][piece.key] += found.value
    places = (q_input_layout, kv_input_layout, kv_input_layout)
    back = (from_bnsd(g, layout).to(query.dtype) for g, layout in zip(grads, places, strict=True))
    grad_query, grad_key, grad_value = back
    return grad_query, grad_key, grad_value


@chapter.gradient("npu::npu_block_sparse_attention")
def block_sparse_attention_gradient(
    arguments: tuple[object, ...],
    outputs: tuple[Tensor, Tensor],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the backward operator, for query, key and value."""
    if grads[0] is None:
        return (None,) * len(arguments)
    (
        query,
        key,
        value,
        mask,
        block,
        query_layout,
        key_layout,
        heads,
        scale,
        _,
        lengths,
        key_lengths,
        _,
    ) = arguments
    found = block_sparse_attention_backward(
        grads[0], query, key, value, *outputs, mask, block, lengths, key_lengths,
        query_layout, key_layout, heads, scale,
    )  # fmt: skip
    return (*found, *(None,) * (len(arguments) - 3))


def _views(
    plan: BlockSparse, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    require(
        query.dtype == key.dtype == value.dtype,
        (
            f"query, key, value must have the same dtype, got query={query.dtype}, "
            f"key={key.dtype}, value={value.dtype}"
        ),
    )
    keys, values = (to_bnsd(tensor, plan.layouts[1], plan.key_heads) for tensor in (key, value))
    return to_bnsd(query, plan.layouts[0], plan.mask.shape[1]), keys, values


def _pieces(plan: BlockSparse, query: Tensor, key: Tensor) -> Iterator[Piece]:
    for index in range(plan.mask.shape[0]):
        rows = _place(plan.layouts[0], plan.query_lengths, index, query.shape[2])
        keys = _place(plan.layouts[1], plan.key_lengths, index, key.shape[2])
        if rows[2].stop > rows[2].start and keys[2].stop > keys[2].start:
            hidden = _hidden(plan, index, keys[2].stop - keys[2].start)
            yield Piece(rows, keys, Terms(scale=plan.scale, hidden=hidden))


def _place(
    layout: str, lengths: tuple[int, ...], index: int, length: int
) -> tuple[slice, slice, slice]:
    """Where sequence `index` lies; lengths are each sequence's own, even in a row."""
    every = slice(None)
    if layout == "TND":
        start = sum(lengths[:index])
        return every, every, slice(start, start + lengths[index])
    return slice(index, index + 1), every, slice(0, lengths[index] if lengths else length)


def _hidden(plan: BlockSparse, index: int, keys: int) -> Rows:
    queries_in_block, keys_in_block = plan.block
    by_key = torch.arange(keys) // keys_in_block

    def rows(start: int, stop: int) -> Tensor:
        by_query = torch.arange(start, stop) // queries_in_block
        return plan.mask[index : index + 1, :, by_query][..., by_key] == 0

    return rows
