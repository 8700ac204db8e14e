"""ATB's writes into caches of blocks, reads from them, and the rotation before."""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.boost.sequences import cached_keys, lengths
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("atb/ReshapeAndCachAtb.cpp"))


@chapter.reference("atb::_npu_reshape_and_cache")
def reshape_and_cache(
    key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slot_indices: Tensor
) -> None:
    """Write tokens [T, N, D] to their slots; those below zero stay out."""
    _write(key, key_cache, slot_indices)
    _write(value, value_cache, slot_indices)


@chapter.reference(
    "atb::_npu_reshape_and_cache_siso", source=code_of("atb/ReshapeAndCacheSisoAtb.cpp")
)
def reshape_and_cache_siso(key: Tensor, key_cache: Tensor, slot_indices: Tensor) -> None:
    """The same for keys alone."""
    _write(key, key_cache, slot_indices)


@chapter.reference("atb::npu_paged_cache_load", source=code_of("atb/PagedCacheLoadAtb.cpp"))
def paged_cache_load(
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    context_lens: Tensor,
    seq_starts: Tensor | None = None,
    cumsum: bool = False,
) -> tuple[Tensor, Tensor]:
    """The tokens [T, N, D] of all sequences in a row, each from its first block or a later one.

    `context_lens` are lengths, or with `cumsum` where sequences begin and the last one ends.
    """
    counts = context_lens.diff() if cumsum else context_lens
    table = block_table
    if seq_starts is not None:
        skipped = seq_starts.long() // key_cache.shape[1]
        places = torch.arange(block_table.shape[1]) + skipped.unsqueeze(1)
        table = block_table.gather(1, places.clamp(max=block_table.shape[1] - 1))
    found = cached_keys(key_cache, value_cache, table, lengths(counts), key_cache.shape[-2])
    return torch.cat([k for k, _ in found]), torch.cat([v for _, v in found])


@chapter.reference("atb::npu_paged_cache_load.out", source=code_of("atb/PagedCacheLoadAtb.cpp"))
def paged_cache_load_out(
    *values: object, key: Tensor, value: Tensor, **named: object
) -> tuple[Tensor, Tensor]:
    """The same, written into `key` and `value`."""
    keys, found = paged_cache_load(*values, **named)
    key.copy_(keys.reshape(key.shape))
    value.copy_(found.reshape(value.shape))
    return key, value


@chapter.reference("atb::_npu_rotary_embedding", source=code_of("atb/RopeAtb.cpp"))
def rotary_embedding(
    positions: Tensor,
    query: Tensor,
    key: Tensor,
    head_size: int,
    cos_sin_cache: Tensor,
    is_neox_style: bool,
) -> None:
    """Rotate query and key [T, N * head_size] in place, by pairs of halves or of neighbours."""
    cos, sin = cos_sin_cache[positions.flatten().long()].float().unsqueeze(1).chunk(2, -1)
    for tensor in (query, key):
        heads = tensor.reshape(cos.shape[0], -1, head_size).float()
        tensor.copy_(_rotated(heads, cos, sin, is_neox_style).view(tensor.shape))


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor, halves: bool) -> Tensor:
    width = 2 * cos.shape[-1]
    turned, rest = heads[..., :width], heads[..., width:]
    first, second = turned.chunk(2, -1) if halves else (turned[..., ::2], turned[..., 1::2])
    parts = first * cos - second * sin, second * cos + first * sin
    joined = torch.cat(parts, -1) if halves else torch.stack(parts, -1).flatten(-2)
    return torch.cat([joined, rest], -1)


def _write(tokens: Tensor, cache: Tensor, slots: Tensor) -> None:
    kept = slots >= 0
    slots, rows = slots[kept].long(), tokens[kept]
    if cache.shape[-2:] == tokens.shape[-2:]:
        size = cache.shape[1]
        cache[slots // size, slots % size] = rows
        return
    # The chip's fractal order: [blocks, N * D / x, tokens, x].
    size, width = cache.shape[-2:]
    cache[slots // size, :, slots % size] = rows.flatten(1).unflatten(-1, (-1, width))
