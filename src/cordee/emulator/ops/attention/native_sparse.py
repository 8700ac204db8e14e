"""Native sparse attention for training: compressed keys choose the blocks that queries attend to.

Yuan et al., "Native Sparse Attention" (arXiv:2502.11089): equation 7 compresses blocks of tokens,
equations 8 to 12 choose blocks by the weights that their compressed tokens get.
Tensors are [T, N, D], sequences in a row; lengths are running sums.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from cordee.emulator.ops.attention.dense import Attended, Terms
from cordee.emulator.ops.attention.fusion import STATISTIC_COPIES, Fusion, stored
from cordee.emulator.ops.attention.fusion_gradients import fusion_attention_grad
from cordee.emulator.ops.attention.layouts import spans
from cordee.emulator.ops.attention.masks import EVERY_TOKEN, Rows, Sparse, Visibility, window
from cordee.emulator.ops.attention.sequences import (
    attend_sequence,
    attend_sequence_grad,
    selected,
)
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import CONFIG

chapter = Chapter(source=CONFIG)

CHOSEN = 23333.0  # importance of blocks that topk_mask chooses in advance


@chapter.reference("npu::npu_nsa_compress")
def compress(
    input: Tensor,
    weight: Tensor,
    compress_block_size: int,
    compress_stride: int,
    actual_seq_len: list[int] | None = None,
) -> Tensor:
    """Weighted sums of the tokens in each block: [blocks of all sequences, N, D]."""
    parts = [
        (block * weight.float().T.unsqueeze(1)).sum(-1)
        for block in _compressed_blocks(input, compress_block_size, compress_stride, actual_seq_len)
    ]
    return torch.cat([input.new_empty(0, *input.shape[1:]).float(), *parts]).to(input.dtype)


@chapter.reference("npu::npu_nsa_compress_grad")
def compress_grad(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    compress_block_size: int,
    compress_stride: int,
    actual_seq_len: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of the tokens and of the weights."""

    def of(tokens: Tensor, weights: Tensor) -> Tensor:
        out: Tensor = compress(
            tokens, weights, compress_block_size, compress_stride, actual_seq_len
        )
        return out

    found = vjp(of, (input.float(), weight.float()), (grad.float(),))
    sides = (
        torch.zeros_like(x) if g is None else g.to(x.dtype)
        for g, x in zip(found, (input, weight), strict=True)
    )
    grad_input, grad_weight = sides
    return grad_input, grad_weight


@chapter.gradient("npu::npu_nsa_compress")
def compress_gradient(
    arguments: tuple[Tensor, Tensor, int, int, list[int] | None],
    outputs: tuple[Tensor],
    grads: tuple[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the gradient operator."""
    if grads[0] is None:
        return (None,) * len(arguments)
    return (*compress_grad(grads[0], *arguments), None, None, None)


@chapter.reference("npu::npu_nsa_compress_attention")
def compress_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale_value: float,
    head_num: int,
    compress_block_size: int,
    compress_stride: int,
    select_block_size: int,
    select_block_count: int,
    topk_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_cmp_seq_kvlen: list[int] | None = None,
    actual_sel_seq_kvlen: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attention to compressed keys, the blocks it chooses [T, Nkv, count], maximum and sum."""
    out = torch.zeros(*query.shape[:2], value.shape[-1])
    maximum, total = torch.zeros(2, *query.shape[:2], 1)
    chosen = torch.full((query.shape[0], key.shape[1], select_block_count), -1, dtype=torch.int32)
    visibility = Visibility(atten_mask, Sparse.ALL)
    all_spans = [
        spans(ends or ()) for ends in (actual_seq_qlen, actual_cmp_seq_kvlen, actual_sel_seq_kvlen)
    ]
    for rows, keys, blocks in zip(*all_spans, strict=True):
        hidden = visibility.rows(rows.stop - rows.start, keys.stop - keys.start)
        terms = Terms(scale=scale_value, hidden=hidden)
        found = attend_sequence(query[rows], key[keys], value[keys], terms)
        out[rows], maximum[rows], total[rows] = found
        weights = _weights(query[rows], key[keys], found, terms)
        steps = select_block_size // compress_stride, compress_block_size // compress_stride
        score = importance(weights, key.shape[1], blocks.stop - blocks.start, *steps)
        if topk_mask is not None:
            forced = topk_mask[: score.shape[1], : score.shape[2]].bool()
            score = score.masked_fill(forced, CHOSEN)
        best = score.sort(dim=-1, descending=True, stable=True).indices[..., :select_block_count]
        chosen[rows, :, : best.shape[-1]] = best.transpose(0, 1).int()
    by_head = (statistic.transpose(0, 1).unsqueeze(0) for statistic in (maximum, total))
    like_fusion = _fusion(head_num, scale_value, actual_seq_qlen, actual_cmp_seq_kvlen)
    stats = [stored(like_fusion, statistic) for statistic in by_head]
    return out.to(query.dtype), chosen, stats[0], stats[1]


@chapter.gradient("npu::npu_nsa_compress_attention")
def compress_attention_gradient(
    arguments: tuple[object, ...],
    outputs: tuple[Tensor, Tensor, Tensor, Tensor],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: npu_fusion_attention_grad, as the adapter's derivatives have it."""
    if grads[0] is None:
        return (None,) * len(arguments)
    query, key, value, scale, heads = arguments[:5]
    mask, query_ends, key_ends = arguments[10:13]
    found = fusion_attention_grad(
        query, key, value, grads[0], heads, "TND", atten_mask=mask, softmax_max=outputs[2],
        softmax_sum=outputs[3], attention_in=outputs[0], scale_value=scale,
        actual_seq_qlen=query_ends, actual_seq_kvlen=key_ends, sparse_mode=Sparse.ALL,
    )  # fmt: skip
    return (*found[:3], *(None,) * (len(arguments) - 3))


@chapter.reference("npu::npu_nsa_select_attention")
def select_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    topk_indices: Tensor,
    scale_value: float,
    head_num: int,
    select_block_size: int,
    select_block_count: int,
    atten_mask: Tensor | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_kvlen: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention to the blocks in `topk_indices` [T, Nkv, count], maximum and sum [T, N, 8]."""
    out = torch.zeros(*query.shape[:2], value.shape[-1])
    maximum, total = torch.zeros(2, *query.shape[:2], 1)
    for rows, keys in zip(spans(actual_seq_qlen or ()), spans(actual_seq_kvlen or ()), strict=True):
        hidden = _chosen(
            topk_indices[rows], select_block_size, keys.stop - keys.start, head_num, atten_mask
        )
        terms = Terms(scale=scale_value, hidden=hidden, weights_dtype=query.dtype)
        out[rows], maximum[rows], total[rows] = attend_sequence(
            query[rows], key[keys], value[keys], terms
        )
    stats = [s.expand(-1, -1, STATISTIC_COPIES).contiguous() for s in (maximum, total)]
    return out.to(query.dtype), stats[0], stats[1]


@chapter.reference("npu::npu_nsa_select_attention_grad")
def select_attention_grad(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_out: Tensor,
    softmax_max: Tensor,
    softmax_sum: Tensor,
    topk_indices: Tensor,
    scale_value: float,
    head_num: int,
    select_block_size: int,
    select_block_count: int,
    atten_mask: Tensor | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_kvlen: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    grads = [torch.zeros(tensor.shape) for tensor in (query, key, value)]
    for rows, keys in zip(spans(actual_seq_qlen or ()), spans(actual_seq_kvlen or ()), strict=True):
        hidden = _chosen(
            topk_indices[rows], select_block_size, keys.stop - keys.start, head_num, atten_mask
        )
        attended = Attended(
            attention_out[rows].float(), softmax_max[rows, :, :1], softmax_sum[rows, :, :1]
        )
        found = attend_sequence_grad(
            query[rows], key[keys], value[keys], grad[rows], attended,
            Terms(scale=scale_value, hidden=hidden),
        )  # fmt: skip
        grads[0][rows] += found.query
        grads[1][keys] += found.key
        grads[2][keys] += found.value
    return grads[0].to(query.dtype), grads[1].to(key.dtype), grads[2].to(value.dtype)


@chapter.gradient("npu::npu_nsa_select_attention")
def select_attention_gradient(
    arguments: tuple[Tensor, ...],
    outputs: tuple[Tensor, Tensor, Tensor],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the gradient operator."""
    if grads[0] is None:
        return (None,) * len(arguments)
    found = select_attention_grad(grads[0], *arguments[:3], *outputs, *arguments[3:])
    return (*found, *(None,) * (len(arguments) - 3))


def importance(
    weights: Tensor, key_heads: int, blocks: int, per_block: int, per_compressed: int
) -> Tensor:
    """How much each selection block matters [Nkv, Sq, blocks], given weights [N, Sq, keys].

    Equation 9 of the paper, and 10 over the heads that share a key head. Steps of one stride:
    `per_block` in a selection block, `per_compressed` in a compressed one.
    """
    heads, queries, keys = weights.shape
    padded = torch.nn.functional.pad(weights, (0, max(0, per_block * blocks + 1 - keys)))
    ends = per_block * torch.arange(1, blocks + 1)
    score = torch.zeros(heads, queries, blocks)
    for m in range(per_block):
        for n in range(per_compressed):
            place = ends - m - n
            score += padded[..., place.clamp_min(0)] * (place >= 0)
    return score.view(key_heads, -1, queries, blocks).sum(1)


def _weights(query: Tensor, key: Tensor, attended: Attended, terms: Terms) -> Tensor:
    """The softmax [N, Sq, keys] behind `attended`."""
    group = query.shape[1] // key.shape[1]
    keys = key.float().repeat_interleave(group, 1)
    scores = torch.einsum("snd,tnd->nst", query.float(), keys) * terms.scale
    if terms.hidden is not None:
        scores = scores.masked_fill(terms.hidden(0, query.shape[0]), -torch.inf)
    by_head = (part.transpose(0, 1) for part in attended[1:])
    maximum, total = by_head
    return (scores - maximum).exp() / total


def _compressed_blocks(
    tokens: Tensor, size: int, stride: int, lengths: list[int] | None
) -> Iterator[Tensor]:
    """The blocks [blocks, N, D, size] of each sequence long enough to have one."""
    for span in spans(lengths or ()):
        if span.stop - span.start >= size:
            yield tokens[span].float().unfold(0, size, stride)


def _chosen(blocks: Tensor, block_size: int, keys: int, heads: int, mask: Tensor | None) -> Rows:
    rows = selected(blocks, block_size, keys, heads // blocks.shape[1])
    if mask is None:
        return rows
    # The operator runs its kernel in sparse_mode 2: a mask stands for the left-up triangle.
    seen = window(EVERY_TOKEN, 0, 0, keys)
    return lambda start, stop: rows(start, stop) | seen(start, stop)


def _fusion(
    heads: int, scale: float, query_ends: list[int] | None, key_ends: list[int] | None
) -> Fusion:
    return Fusion(
        heads=heads,
        layout="TND",
        scale=scale,
        visibility=Visibility(),
        query_ends=tuple(query_ends or ()),
        key_ends=tuple(key_ends or ()),
    )
