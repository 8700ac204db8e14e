"""npu_sparse_flash_attention: attention of latent heads to the tokens that an indexer chose.

DeepSeek-AI, "DeepSeek-V3.2" (arXiv:2512.02556), section 2.1, equation 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.dense import HIGHEST, LOWEST, Attended, Terms
from cordee.emulator.ops.attention.masks import Sparse
from cordee.emulator.ops.attention.sequences import (
    Place,
    attend_sequence,
    attend_sequence_grad,
    keys,
    places,
    selected,
    selected_causal,
)
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_sparse_flash_attention"))

EVERY_LATER_TOKEN = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tokens each query attends to."""

    blocks: Tensor  # as the query's layout, [..., Nkv, count]; below zero: none
    block_size: int
    scale: float
    mode: int
    sinks: Tensor | None = None

    def __post_init__(self) -> None:
        if self.mode not in (Sparse.DEFAULT, Sparse.RIGHT_DOWN_CAUSAL):
            raise NotEmulated(f"sparse flash attention: sparse_mode {self.mode} is not emulated")

    def terms(self, place: Place, key_count: int, group: int) -> Terms:
        """Attention of the queries at `place`."""
        causal = self.mode == Sparse.RIGHT_DOWN_CAUSAL
        hide = selected_causal if causal else selected
        hidden = hide(self.blocks[place.at], self.block_size, key_count, group)
        return Terms(scale=self.scale, hidden=hidden, sink=self.sinks)


class Turn(NamedTuple):
    """One sequence: where its queries are, what they are and what they attend to."""

    place: Place
    query: Tensor
    key: Tensor
    value: Tensor
    terms: Terms


@chapter.reference("npu::npu_sparse_flash_attention")
def sparse_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    sparse_indices: Tensor,
    scale_value: float,
    block_table: Tensor | None = None,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_kv: Tensor | None = None,
    query_rope: Tensor | None = None,
    key_rope: Tensor | None = None,
    sparse_block_size: int = 1,
    layout_query: str = "BSND",
    layout_kv: str = "BSND",
    sparse_mode: int = 3,
    pre_tokens: int = EVERY_LATER_TOKEN,
    next_tokens: int = EVERY_LATER_TOKEN,
    attention_mode: int = 0,
    return_softmax_lse: bool = False,
    sinks: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention, and where asked for the maximum and sum of each row."""
    choice = Choice(sparse_indices, sparse_block_size, scale_value, sparse_mode, sinks)
    table = places(query, layout_query, actual_seq_lengths_query)
    sides = (key, key if value is None else value)
    tokens, values = (
        keys(side, layout_kv, actual_seq_lengths_kv, block_table, len(table)) for side in sides
    )
    if query_rope is not None and key_rope is not None:
        query = torch.cat([query, query_rope], -1)
        rope = keys(key_rope, layout_kv, actual_seq_lengths_kv, block_table, len(table))
        tokens = [torch.cat(pair, -1) for pair in zip(tokens, rope, strict=True)]
    out = torch.zeros(*query.shape[:-1], sides[1].shape[-1])
    maximum = torch.full((*query.shape[:-1], 1), LOWEST)
    total = torch.full((*query.shape[:-1], 1), HIGHEST)
    for turn in _turns(choice, table, query, tokens, values):
        found = attend_sequence(turn.query, turn.key, turn.value, turn.terms)
        for whole, part in zip((out, maximum, total), found, strict=True):
            whole[turn.place.at] = part
    if not return_softmax_lse:
        return out.to(key.dtype), torch.empty(0), torch.empty(0)
    heads = key.shape[-2]
    return out.to(key.dtype), _by_key_head(maximum, heads), _by_key_head(total, heads)


@chapter.reference(
    "npu::npu_sparse_flash_attention_grad",
    source=code_of("opapi/SparseFlashAttentionGradKernelNpuOpApi.cpp"),
)
def sparse_flash_attention_grad(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    sparse_indices: Tensor,
    d_out: Tensor,
    out: Tensor,
    softmax_max: Tensor,
    softmax_sum: Tensor,
    scale_value: float,
    sparse_block_size: int,
    query_rope: Tensor | None = None,
    key_rope: Tensor | None = None,
    actual_seq_qlen: Tensor | None = None,
    actual_seq_kvlen: Tensor | None = None,
    layout: str | None = "BSND",
    sparse_mode: int | None = 3,
    pre_tokens: int | None = EVERY_LATER_TOKEN,
    next_tokens: int | None = EVERY_LATER_TOKEN,
    attention_mode: int | None = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value and of the rotary parts, empty without these."""
    layout = layout or "BSND"
    choice = Choice(
        sparse_indices, sparse_block_size, scale_value, 3 if sparse_mode is None else sparse_mode
    )
    value = key if value is None else value
    whole_query, whole_key = query, key
    if query_rope is not None and key_rope is not None:
        whole_query = torch.cat([query, query_rope], -1)
        whole_key = torch.cat([key, key_rope], -1)
    table = places(query, layout, actual_seq_qlen)
    key_table = places(key, layout, actual_seq_kvlen)
    saved = out.float(), _by_query_head(softmax_max), _by_query_head(softmax_sum)
    grads = [torch.zeros(tensor.shape) for tensor in (whole_query, whole_key, value)]
    tokens, values = ([side[p.at] for p in key_table] for side in (whole_key, value))
    for turn, key_place in zip(
        _turns(choice, table, whole_query, tokens, values), key_table, strict=True
    ):
        attended = Attended(*(part[turn.place.at] for part in saved))
        found = attend_sequence_grad(
            turn.query, turn.key, turn.value, d_out[turn.place.at], attended, turn.terms
        )
        grads[0][turn.place.at] += found.query
        grads[1][key_place.at] += found.key
        grads[2][key_place.at] += found.value
    grad_query, grad_query_rope = _parted(grads[0], query, query_rope)
    grad_key, grad_key_rope = _parted(grads[1], key, key_rope)
    return grad_query, grad_key, grads[2].to(value.dtype), grad_query_rope, grad_key_rope


@chapter.gradient("npu::npu_sparse_flash_attention")
def sparse_flash_attention_gradient(
    arguments: tuple[object, ...],
    outputs: tuple[Tensor, Tensor, Tensor],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the gradient operator; it needs the statistics that training asks for."""
    if grads[0] is None:
        return (None,) * len(arguments)
    require(
        outputs[1].numel() > 0,
        "npu_sparse_flash_attention: a gradient needs return_softmax_lse=True",
    )
    query, key, value, indices, scale, _, lengths, key_lengths, query_rope, key_rope, size = (
        arguments[:11]
    )
    found = sparse_flash_attention_grad(
        query, key, value, indices, grads[0], *outputs, scale, size, query_rope, key_rope,
        lengths, key_lengths, arguments[11], arguments[13],
    )  # fmt: skip
    by_place: dict[int, Tensor] = {0: found[0], 1: found[1], 2: found[2]}
    if query_rope is not None:
        by_place |= {8: found[3], 9: found[4]}
    return tuple(by_place.get(place) for place in range(len(arguments)))


def _turns(
    choice: Choice, table: list[Place], query: Tensor, tokens: list[Tensor], values: list[Tensor]
) -> Iterator[Turn]:
    for place, key, value in zip(table, tokens, values, strict=True):
        group = query.shape[-2] // key.shape[-2]
        terms = choice.terms(place, key.shape[0], group)
        yield Turn(place, query[place.at], key, value, terms)


def _by_key_head(statistic: Tensor, key_heads: int) -> Tensor:
    """[B, Nkv, S, group] or [Nkv, T, group], from [..., N, 1]."""
    by_key: Tensor = statistic.squeeze(-1).unflatten(-1, (key_heads, -1))
    return by_key.movedim(-2, -3).contiguous()


def _by_query_head(statistic: Tensor) -> Tensor:
    """What `_by_key_head` was given."""
    return statistic.movedim(-3, -2).flatten(-2).unsqueeze(-1)


def _parted(grad: Tensor, tensor: Tensor, rope: Tensor | None) -> tuple[Tensor, Tensor]:
    if rope is None:
        return grad.to(tensor.dtype), tensor.new_empty(0)
    whole, rotary = grad.split([tensor.shape[-1], rope.shape[-1]], dim=-1)
    return whole.to(tensor.dtype).contiguous(), rotary.to(rope.dtype).contiguous()
