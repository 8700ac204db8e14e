"""npu_kv_quant_sparse_flash_attention: the same from a cache of int8 that carries its own scales.

A cached token is [D of int8 | the rotary part in the query's dtype | a float32 for each tile].
"""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.sequences import keys, numbers, places
from cordee.emulator.ops.attention.sparse_flash import EVERY_LATER_TOKEN, sparse_flash_attention
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_kv_quant_sparse_flash_attention"))

BY_TILE = 2  # the one quant mode: a scale for each tile of each token
WITH_DATA = 1  # the one repo mode: scales lie behind the numbers


@chapter.reference("npu::npu_kv_quant_sparse_flash_attention")
def kv_quant_sparse_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sparse_indices: Tensor,
    scale_value: float,
    key_quant_mode: int,
    value_quant_mode: int,
    key_dequant_scale: Tensor | None = None,
    value_dequant_scale: Tensor | None = None,
    block_table: Tensor | None = None,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_kv: Tensor | None = None,
    sparse_block_size: int = 1,
    layout_query: str = "BSND",
    layout_kv: str = "BSND",
    sparse_mode: int = 3,
    pre_tokens: int = EVERY_LATER_TOKEN,
    next_tokens: int = EVERY_LATER_TOKEN,
    attention_mode: int = 0,
    quant_scale_repo_mode: int = 1,
    tile_size: int = 128,
    rope_head_dim: int = 64,
    key_dtype: int | None = None,
    value_dtype: int | None = None,
) -> Tensor:
    """Attention [..., N, D] of queries [..., N, D + rotary]; `value` is what `key` holds."""
    operator = "npu_kv_quant_sparse_flash_attention"
    refuse(operator, key_dtype=key_dtype, value_dtype=value_dtype)
    if key.dtype != torch.int8 or quant_scale_repo_mode != WITH_DATA:
        raise NotEmulated(f"{operator}: only a cache of int8 with its scales in it is emulated")
    if (key_quant_mode, value_quant_mode) != (BY_TILE, BY_TILE):
        raise NotEmulated(f"{operator}: quant mode {key_quant_mode} is not emulated")
    table = places(query, layout_query, actual_seq_lengths_query)
    stored = keys(key, layout_kv, actual_seq_lengths_kv, block_table, len(table))
    size = query.shape[-1] - rope_head_dim
    tokens = torch.cat(
        [_numbers(part, size, rope_head_dim, tile_size, query.dtype) for part in stored]
    )
    ends = torch.tensor(numbers([part.shape[0] for part in stored])).cumsum(0)
    rows = torch.cat([query[place.at] for place in table])
    chosen = torch.cat([sparse_indices[place.at] for place in table])
    row_ends = torch.tensor([place.length for place in table]).cumsum(0)
    found, _, _ = sparse_flash_attention(
        rows.float(), tokens, tokens[..., :size], chosen, scale_value,
        actual_seq_lengths_query=row_ends, actual_seq_lengths_kv=ends,
        sparse_block_size=sparse_block_size, layout_query="TND", layout_kv="TND",
        sparse_mode=sparse_mode,
    )  # fmt: skip
    out = query.new_zeros(*query.shape[:-1], size)
    for place, part in zip(table, found.split([p.length for p in table]), strict=True):
        out[place.at] = part.to(query.dtype)
    return out


def _numbers(
    stored: Tensor, size: int, rope_size: int, tile: int, rope_dtype: torch.dtype
) -> Tensor:
    """Tokens [S, N, size + rope_size] in float32, from their bytes."""
    rope_bytes = rope_size * rope_dtype.itemsize
    whole, rope, scales = stored.split(
        [size, rope_bytes, stored.shape[-1] - size - rope_bytes], dim=-1
    )
    by_tile = scales.contiguous().view(torch.float32).repeat_interleave(tile, -1)
    return torch.cat([whole.float() * by_tile, rope.contiguous().view(rope_dtype).float()], -1)
