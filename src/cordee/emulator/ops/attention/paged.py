"""Key and value caches made of blocks, which a table gives to the sequences of a batch.

Kwon et al., "Efficient Memory Management for LLM Serving with PagedAttention" (arXiv:2309.06180).
The vendor's cache layouts are those of torch_npu-npu_fused_infer_attention_score.md.
"""

from torch import Tensor

from cordee.emulator.ops.demands import require

# A cache by its number of axes: [blocks, tokens, H], [blocks, N, tokens, D], and the chip's
# own fractal order [blocks, N, D / x, tokens, x], where x values fill 32 bytes.
FRACTAL_AXES = 5


def block_tokens(cache: Tensor) -> int:
    """How many tokens fit in one block of `cache`."""
    return cache.shape[1] if cache.dim() == 3 else cache.shape[-2]


def blocks_view(cache: Tensor, heads: int) -> Tensor:
    """View a cache as [blocks, N, tokens, D], whatever its layout."""
    if cache.dim() == 3:
        by_head: Tensor = cache.unflatten(-1, (heads, -1))
        return by_head.transpose(1, 2)
    if cache.dim() == FRACTAL_AXES:
        return cache.transpose(2, 3).flatten(-2)
    require(
        cache.dim() == 4,
        f"when Page Attention enabled, value's dim should be 3/4/5, but got {cache.dim()}",
    )
    return cache


def gathered(cache: Tensor, blocks: Tensor, length: int, heads: int) -> Tensor:
    """The first `length` tokens [1, N, length, D] of the sequence that lies in `blocks`."""
    return joined_blocks(blocks_view(cache, heads), blocks, length)


def joined_blocks(view: Tensor, blocks: Tensor, length: int) -> Tensor:
    """The first `length` tokens [1, N, length, D], from [blocks, N, tokens, D]."""
    tokens = view.shape[2]
    needed = -(-length // tokens)
    require(
        needed <= blocks.numel(),
        f"{length} tokens need {needed} blocks, but block_table has {blocks.numel()}",
    )
    chosen = blocks[:needed].long()
    require(
        bool(((chosen >= 0) & (chosen < view.shape[0])).all()),
        f"block_table names blocks outside the cache's {view.shape[0]}: {chosen.tolist()}",
    )
    return view[chosen].transpose(0, 1).flatten(1, 2)[:, :length].unsqueeze(0)
