"""Writes into key/value caches, whole or paged, and the bookkeeping of a decoding step.

A paged cache is made of blocks of tokens; slot `s` is place `s % block_size` of block
`s // block_size`.
"""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import CONFIG, code_of, page_of

chapter = Chapter(source=page_of("npu_scatter_pa_kv_cache"))


@chapter.reference("npu::npu_scatter_pa_kv_cache")
def scatter_pa_kv_cache(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
    compress_lens: Tensor | None = None,
    compress_seq_offsets: Tensor | None = None,
    seq_lens: Tensor | None = None,
    cache_mode: str | None = "PA_NZ",
) -> None:
    """Write each token's key and value [tokens, heads, size] to its slot."""
    _refuse_compression("npu_scatter_pa_kv_cache", compress_lens, compress_seq_offsets, seq_lens)
    _write_slots(key, key_cache, slot_mapping, blocked=cache_mode == "PA_NZ")
    _write_slots(value, value_cache, slot_mapping, blocked=cache_mode == "PA_NZ")


chapter.pure(
    "npu::npu_scatter_pa_kv_cache_functional", scatter_pa_kv_cache, "key_cache", "value_cache"
)


@chapter.reference("npu::npu_scatter_pa_cache.value", source=CONFIG)
def scatter_pa_cache(
    key: Tensor,
    slot_mapping: Tensor,
    compress_lens: Tensor | None = None,
    compress_seq_offsets: Tensor | None = None,
    seq_lens: Tensor | None = None,
    *,
    key_cache: Tensor,
) -> Tensor:
    """Write each token's key [tokens, heads, size] to its slot of [blocks, block, heads, size]."""
    _refuse_compression("npu_scatter_pa_cache", compress_lens, compress_seq_offsets, seq_lens)
    _write_slots(key, key_cache, slot_mapping, blocked=False)
    return key_cache


@chapter.reference(
    "npu::npu_gather_pa_kv_cache", source=code_of("opapi/GatherPaKvCacheKernelNpuOpApi.cpp")
)
def gather_pa_kv_cache(
    key_cache: Tensor,
    value_cache: Tensor,
    block_tables: Tensor,
    seq_lens: Tensor,
    key: Tensor,
    value: Tensor,
    seq_offset: Tensor | None = None,
    is_seq_lens_cumsum: bool = False,
) -> None:
    """Fill `key` and `value` [tokens, heads, size] with the sequences' tokens, one after another."""
    # A blocked cache is [blocks, heads * size / 16, block, 16], so its last two axes are not key's.
    blocked = key_cache.shape[2:] != key.shape[1:]
    block_size = key_cache.shape[2 if blocked else 1]
    counts = seq_lens.diff() if is_seq_lens_cumsum else seq_lens
    block, place = [], []
    for sequence, count in enumerate(counts.tolist()):
        first = 0 if seq_offset is None else int(seq_offset[sequence]) // block_size
        token = torch.arange(count)
        column = first + token // block_size
        known = column < block_tables.shape[1]
        own = block_tables[sequence].long()[column.clamp(max=block_tables.shape[1] - 1)]
        block.append(torch.where(known, own, -1))
        place.append(token % block_size)
    _read_slots(key, key_cache, torch.cat(block), torch.cat(place), blocked)
    _read_slots(value, value_cache, torch.cat(block), torch.cat(place), blocked)


chapter.pure(
    "npu::npu_gather_pa_kv_cache_functional",
    gather_pa_kv_cache,
    "key",
    "value",
    source=code_of("opapi/GatherPaKvCacheKernelNpuOpApi.cpp"),
)


@chapter.reference("npu::scatter_update_", source=page_of("scatter_update_"))
def scatter_update_(input: Tensor, indices: Tensor, updates: Tensor, axis: int) -> Tensor:
    """Write `updates[b]` into sequence b of `input` from place `indices[b]` of `axis` on.

    Indices of two columns name the sequence too.
    """
    for update, (row, start) in zip(updates, _rows_and_starts(indices), strict=True):
        length = updates.shape[axis]
        input[row].narrow(_inner(axis, input.dim()), start, length).copy_(update)
    return input


chapter.pure("npu::scatter_update", scatter_update_, "input", source=page_of("scatter_update"))


@chapter.reference("npu::npu_quant_scatter_", source=page_of("npu_quant_scatter_"))
def quant_scatter_(
    input: Tensor,
    indices: Tensor,
    updates: Tensor,
    quant_scales: Tensor,
    quant_zero_points: Tensor | None = None,
    axis: int = -2,
    quant_axis: int = -1,
    reduce: str = "update",
    dst_type: int | None = None,
    round_mode: str | None = "rint",
) -> Tensor:
    """`scatter_update_` of `updates` quantised to int8 by a scale for each last coordinate."""
    if quant_axis not in (-1, updates.dim() - 1):
        raise NotEmulated(f"npu_quant_scatter: quant_axis={quant_axis} is not emulated")
    refuse("npu_quant_scatter", reduce=reduce != "update", dst_type=dst_type not in (None, 1, 258))
    value = updates.float() / quant_scales.float().reshape(-1)
    if quant_zero_points is not None:
        value = value + quant_zero_points.float().reshape(-1)
    scatter_update_(input, indices, value.round().clamp(-128, 127).to(torch.int8), axis)
    return input


chapter.pure("npu::npu_quant_scatter", quant_scatter_, "input", source=page_of("npu_quant_scatter"))


@chapter.reference("npu::npu_scatter_nd_update_", source=page_of("npu_scatter_nd_update_"))
def scatter_nd_update_(input: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Write `updates[i]` to `input[tuple(indices[i])]`; indices may name the first axes only."""
    at = tuple(indices.long().unbind(-1))
    input[at] = updates.to(input.dtype)
    return input


chapter.pure(
    "npu::npu_scatter_nd_update",
    scatter_nd_update_,
    "input",
    source=page_of("npu_scatter_nd_update"),
)


@chapter.reference("npu::npu_scatter_list_", source=code_of("opapi/ScatterListKernelNpuOpApi.cpp"))
def scatter_list_(
    input: list[Tensor],
    indices: Tensor,
    updates: Tensor,
    mask: Tensor | None = None,
    reduce: str = "update",
    axis: int = -2,
) -> None:
    """Write `updates[i]` into `input[i]` from place `indices[i]` of `axis` on, where `mask[i]`."""
    refuse("npu_scatter_list", reduce=reduce != "update")
    for number, tensor in enumerate(input):
        if mask is not None and not mask[number]:
            continue
        update = updates[number]
        place = indices[number].reshape(-1).tolist()
        length = place[1] if len(place) > 1 else update.shape[axis]
        tensor.narrow(axis, place[0], length).copy_(update.narrow(axis, 0, length))


chapter.pure(
    "npu::npu_scatter_list",
    scatter_list_,
    "input",
    source=code_of("opapi/ScatterListKernelNpuOpApi.cpp"),
)


@chapter.reference("npu::npu_scatter", source=code_of("aclops/ScatterV1KernelNpu.cpp"))
def scatter(input: Tensor, indices: Tensor, updates: Tensor, dim: int) -> Tensor:
    """`input` with `updates` at the places `indices` of axis `dim`, one for each other coordinate."""
    return input.scatter(dim, indices.long().unsqueeze(dim), updates.unsqueeze(dim))


@chapter.reference("npu::npu_advance_step_flashattn", source=page_of("npu_advance_step_flashattn"))
def advance_step_flashattn(
    input_tokens: Tensor,
    sampled_token_ids: Tensor,
    input_positions: Tensor,
    seq_lens: Tensor,
    slot_mapping: Tensor,
    block_tables: Tensor,
    num_seqs: int,
    num_queries: int,
    block_size: int,
    spec_token: Tensor | None = None,
    accepted_num: Tensor | None = None,
) -> None:
    """Move every sequence on by the token it sampled: its position, length and cache slot."""
    refuse("npu_advance_step_flashattn", spec_token=spec_token, accepted_num=accepted_num)
    if num_seqs > num_queries:
        input_tokens[num_queries:num_seqs] = 0
        input_positions[num_queries:num_seqs] = 0
        slot_mapping[num_queries:num_seqs] = -1
    query = torch.arange(num_queries)
    position = seq_lens[:num_queries].clone()
    input_tokens[:num_queries] = sampled_token_ids[:num_queries].flatten()
    input_positions[:num_queries] = position
    seq_lens[:num_queries] = position + 1
    # As documented, the row is added to the block found in the first row, not used to find it.
    block = block_tables.flatten()[position // block_size] + block_tables.stride(0) * query
    slot_mapping[:num_queries] = block * block_size + position % block_size


def _refuse_compression(
    operator: str,
    lengths: Tensor | None,
    offsets: Tensor | None,
    sequences: Tensor | None,
) -> None:
    refuse(operator, compress_lens=lengths, compress_seq_offsets=offsets, seq_lens=sequences)


def _inner(axis: int, dims: int) -> int:
    """`axis` of a tensor of `dims` axes, counted from its end."""
    return axis if axis < 0 else axis - dims


def _rows_and_starts(indices: Tensor) -> list[tuple[int, int]]:
    if indices.dim() == 2 and indices.shape[1] == 2:
        return [(row, start) for row, start in indices.tolist()]
    return list(enumerate(indices.flatten().tolist()))


def _slots(cache: Tensor, blocked: bool) -> Tensor:
    """`cache` as [blocks, block, numbers of a token], a view."""
    return cache.transpose(1, 2) if blocked else cache


def _write_slots(tokens: Tensor, cache: Tensor, slot: Tensor, *, blocked: bool) -> None:
    slots = _slots(cache, blocked)
    wanted = slot.flatten() >= 0
    place = slot.flatten()[wanted].long()
    value = tokens[: len(wanted)][wanted].reshape(len(place), *slots.shape[2:])
    slots[place // slots.shape[1], place % slots.shape[1]] = value


def _read_slots(out: Tensor, cache: Tensor, block: Tensor, place: Tensor, blocked: bool) -> None:
    slots = _slots(cache, blocked)
    block, place = block[: out.shape[0]], place[: out.shape[0]]
    known = (block >= 0) & (block < slots.shape[0])
    value = slots[block.clamp(0, slots.shape[0] - 1), place].reshape(len(block), *out.shape[1:])
    out[: len(block)] = value * known.reshape(-1, *[1] * (out.dim() - 1)).to(value.dtype)
