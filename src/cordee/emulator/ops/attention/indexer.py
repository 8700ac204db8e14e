"""The lightning indexer: cheap heads that choose the tokens a query attends to.

DeepSeek-AI, "DeepSeek-V3.2" (arXiv:2512.02556), section 2.1, equation 1: a token's score is a
weighted sum over heads of what is left of query times key above zero.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.masks import Sparse
from cordee.emulator.ops.attention.sequences import Place, keys, places
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_lightning_indexer"))

EVERY_LATER_TOKEN = 2**63 - 1
NO_TOKEN = -1
# The quantised indexer rounds scores to float16, scaled down to fit.
SCORE_UNIT = 1024.0


class Turn(NamedTuple):
    """One sequence: queries [S, N, D], weights [S, N] and the keys [Skv, D] of its one key head."""

    place: Place
    query: Tensor
    weights: Tensor
    key: Tensor


@chapter.reference("npu::npu_lightning_indexer")
def lightning_indexer(
    query: Tensor,
    key: Tensor,
    weights: Tensor,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_key: Tensor | None = None,
    block_table: Tensor | None = None,
    layout_query: str = "BSND",
    layout_key: str = "BSND",
    sparse_count: int = 2048,
    sparse_mode: int = 3,
    pre_tokens: int = EVERY_LATER_TOKEN,
    next_tokens: int = EVERY_LATER_TOKEN,
    return_value: bool = False,
) -> tuple[Tensor, Tensor]:
    """The tokens with the best scores [..., 1, count], -1 after the last one, and their scores."""
    shape = (*query.shape[:-2], 1, sparse_count)
    indices = torch.full(shape, NO_TOKEN, dtype=torch.int32)
    values = torch.full(shape, -torch.inf)
    table = places(query, layout_query, actual_seq_lengths_query)
    tokens = keys(key, layout_key, actual_seq_lengths_key, block_table, len(table))
    for turn in _turns(table, query, weights, tokens):
        score = hidden_later(scores(*turn[1:]), sparse_mode)
        _store(turn.place, score, indices, values)
    return indices, values.to(query.dtype) if return_value else query.new_empty(0)


@chapter.reference(
    "npu::npu_lightning_indexer_grad",
    source=code_of("opapi/LightningIndexerGradKernelNpuOpApi.cpp"),
)
def lightning_indexer_grad(
    query: Tensor,
    key: Tensor,
    dy: Tensor,
    sparse_indices: Tensor,
    weights: Tensor,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_key: Tensor | None = None,
    layout: str | None = "BSND",
    sparse_mode: int | None = 3,
    pre_tokens: int | None = EVERY_LATER_TOKEN,
    next_tokens: int | None = EVERY_LATER_TOKEN,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and weights, given those of the chosen scores."""
    layout = layout or "BSND"
    grads = [torch.zeros(tensor.shape) for tensor in (query, key, weights)]
    table = places(query, layout, actual_seq_lengths_query)
    key_table = places(key, layout, actual_seq_lengths_key)
    tokens = [key[place.at] for place in key_table]
    shape = (*query.shape[:-2], -1)
    chosen, grad = sparse_indices.reshape(shape).long(), dy.reshape(shape).float()
    for turn, key_place in zip(_turns(table, query, weights, tokens), key_table, strict=True):
        index = chosen[turn.place.at]
        spread = torch.zeros(index.shape[0], turn.key.shape[0] + 1)
        # The last column takes what no token was chosen for.
        spread.scatter_add_(
            -1, torch.where(index < 0, -1 + spread.shape[1], index), grad[turn.place.at]
        )
        inputs = (turn.query.float(), turn.weights.float(), turn.key.float())
        found = vjp(scores, inputs, (spread[:, :-1],))
        for whole, part, place in zip(
            (grads[0], grads[2], grads[1]), found, (turn.place, turn.place, key_place), strict=True
        ):
            assert part is not None
            whole[place.at] += part.view_as(whole[place.at])
    return grads[0].to(query.dtype), grads[1].to(key.dtype), grads[2].to(weights.dtype)


@chapter.gradient("npu::npu_lightning_indexer")
def lightning_indexer_gradient(
    arguments: tuple[object, ...],
    outputs: tuple[Tensor, Tensor],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the gradient operator; only scores carry a gradient back."""
    if grads[1] is None:
        return (None,) * len(arguments)
    query, key, weights, lengths, key_lengths = arguments[:5]
    found = lightning_indexer_grad(
        query, key, grads[1], outputs[0], weights, lengths, key_lengths, arguments[6], arguments[9]
    )
    return (*found, *(None,) * (len(arguments) - 3))


@chapter.reference(
    "npu::npu_quant_lightning_indexer", source=page_of("npu_quant_lightning_indexer")
)
def quant_lightning_indexer(
    query: Tensor,
    key: Tensor,
    weights: Tensor,
    query_dequant_scale: Tensor,
    key_dequant_scale: Tensor,
    query_quant_mode: int,
    key_quant_mode: int,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_key: Tensor | None = None,
    block_table: Tensor | None = None,
    layout_query: str = "BSND",
    layout_key: str = "BSND",
    sparse_count: int = 2048,
    sparse_mode: int = 3,
    pre_tokens: int = EVERY_LATER_TOKEN,
    next_tokens: int = EVERY_LATER_TOKEN,
    query_dtype: int | None = None,
    key_dtype: int | None = None,
) -> Tensor:
    """The same from integers, with a scale for each token and head."""
    refuse("npu_quant_lightning_indexer", query_dtype=query_dtype, key_dtype=key_dtype)
    shape = (*query.shape[:-2], 1, sparse_count)
    indices = torch.full(shape, NO_TOKEN, dtype=torch.int32)
    table = places(query, layout_query, actual_seq_lengths_query)
    sides = (key, key_dequant_scale.unsqueeze(-1))
    tokens, scales = (
        keys(side, layout_key, actual_seq_lengths_key, block_table, len(table)) for side in sides
    )
    scaled = weights * query_dequant_scale
    for turn, scale in zip(_turns(table, query, scaled, tokens), scales, strict=True):
        above = torch.einsum("snd,td->nst", turn.query.float(), turn.key.float()).relu()
        rounded = (above / SCORE_UNIT).half().float()
        score = torch.einsum("nst,sn->st", rounded, turn.weights.float()) * scale.float().view(
            1, -1
        )
        _store(turn.place, hidden_later(score, sparse_mode), indices, None)
    return indices


@chapter.reference(
    "npu::npu_dense_lightning_indexer_softmax_lse",
    source=page_of("npu_dense_lightning_indexer_softmax_lse"),
)
def dense_lightning_indexer_softmax_lse(
    query_index: Tensor,
    key_index: Tensor,
    weights: Tensor,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_klen: list[int] | None = None,
    layout: str | None = "BSND",
    sparse_mode: int | None = 3,
    pre_tokens: int | None = EVERY_LATER_TOKEN,
    next_tokens: int | None = EVERY_LATER_TOKEN,
) -> tuple[Tensor, Tensor]:
    """Maximum and sum of the softmax over all scores: [B, 1, S] or [1, T]."""
    layout, mode = layout or "BSND", 3 if sparse_mode is None else sparse_mode
    rows = query_index.shape[:-2]
    maximum, total = torch.zeros(rows), torch.zeros(rows)
    table = places(query_index, layout, actual_seq_qlen)
    tokens = keys(key_index, layout, actual_seq_klen, None, len(table))
    for turn in _turns(table, query_index, weights, tokens):
        score = hidden_later(scores(*turn[1:]), mode)
        best = score.amax(-1)
        maximum[turn.place.at] = best
        total[turn.place.at] = (score - best.unsqueeze(-1)).exp().sum(-1)
    return maximum.unsqueeze(-2), total.unsqueeze(-2)


def scores(query: Tensor, weights: Tensor, key: Tensor) -> Tensor:
    """The score [Sq, Skv] of each key [Skv, D] for queries [Sq, N, D] with weights [Sq, N]."""
    above = torch.einsum("snd,td->nst", query.float(), key.float()).relu()
    return torch.einsum("nst,sn->st", above, weights.float())


def hidden_later(score: Tensor, mode: int) -> Tensor:
    """`score`, minus infinity where a key comes after the query; both end at the same token."""
    if mode == Sparse.DEFAULT:
        return score
    if mode != Sparse.RIGHT_DOWN_CAUSAL:
        raise NotEmulated(f"lightning indexer: sparse_mode {mode} is not emulated")
    queries, count = score.shape
    later = torch.ones(queries, count, dtype=torch.bool).triu(count - queries + 1)
    return score.masked_fill(later, -torch.inf)


def _turns(
    table: list[Place], query: Tensor, weights: Tensor, tokens: list[Tensor]
) -> Iterator[Turn]:
    for place, key in zip(table, tokens, strict=True):
        if key.shape[1] != 1:
            raise NotEmulated(f"lightning indexer: {key.shape[1]} key heads are not emulated")
        rows = weights[place.at].reshape(place.length, -1)
        yield Turn(place, query[place.at], rows, key[:, 0])


def _store(place: Place, score: Tensor, indices: Tensor, values: Tensor | None) -> None:
    best = score.sort(dim=-1, descending=True, stable=True)
    count = min(indices.shape[-1], score.shape[-1])
    seen = best.values[:, :count] > -torch.inf
    chosen = best.indices[:, :count].int().masked_fill(~seen, NO_TOKEN)
    indices[place.at][:, 0, :count] = chosen
    if values is not None:
        values[place.at][:, 0, :count] = best.values[:, :count]
