"""Where a token's values lie in a cache, for each layout that the fused operators take."""

from collections.abc import Iterator

from torch import Tensor

from cordee.core.errors import NotEmulated

# PA: index gives each token's slot. PA_BLK: index gives the first slot of each block of a sample.
PAGED = ("PA", "PA_BNSD", "PA_NZ", "PA_BLK_BNSD", "PA_BLK_NZ")
NZ_BYTES = 32  # the innermost axis of a FRACTAL_NZ layout


def store_tokens(cache: Tensor, rows: Tensor, index: Tensor, mode: str) -> None:
    """Write `rows` (batch, 1, tokens, d) into `cache` where `index` says; negative means nowhere.

    In mode "Norm" the cache is (batch, 1, slots, d) and `index` (batch, tokens); in the paged
    modes it is (blocks, slots, 1, d), whose memory an NZ mode orders as (blocks, d/d0, slots, d0).
    """
    if mode == "Norm":
        _store_normal(cache, rows, index)
        return
    if mode not in PAGED:
        raise NotEmulated(f"cache_mode={mode!r}; one of {('Norm', *PAGED)} is")
    size = cache.shape[1]
    pages = _pages(cache, mode)
    flat = rows.reshape(-1, *pages.shape[2:])
    for token, slot in _slots(index, rows.shape[0], rows.shape[2], size, "BLK" in mode):
        pages[slot // size, slot % size] = flat[token]


def store_heads(cache: Tensor, rows: Tensor, index: Tensor) -> None:
    """Write `rows` (tokens, heads, d) into a (blocks, heads * d/d0, slots, d0) cache."""
    heads = rows.shape[1]
    size, inner = cache.shape[2:]
    pages = cache.view(cache.shape[0], heads, -1, size, inner)
    for token, slot in enumerate(index.flatten().tolist()):
        if slot >= 0:
            pages[slot // size, :, :, slot % size] = rows[token].view(heads, -1, inner)


def _store_normal(cache: Tensor, rows: Tensor, index: Tensor) -> None:
    for sample in range(rows.shape[0]):
        wanted = index[sample] >= 0
        cache[sample, 0, index[sample][wanted].long()] = rows[sample, 0][wanted]


def _pages(cache: Tensor, mode: str) -> Tensor:
    """A view of `cache` as (blocks, slots, d/d0, d0), whatever the order of its memory."""
    blocks, size, _, width = cache.shape
    if not mode.endswith("NZ"):
        return cache.view(blocks, size, 1, width)
    inner = NZ_BYTES // cache.element_size()
    return cache.view(blocks, width // inner, size, inner).transpose(1, 2)


def _slots(
    index: Tensor, batch: int, tokens: int, size: int, by_block: bool
) -> Iterator[tuple[int, int]]:
    """The number of each token to store, and its slot among all slots of the cache."""
    slots = index.flatten().tolist()
    if not by_block:
        yield from ((token, slot) for token, slot in enumerate(slots) if slot >= 0)
        return
    pages = len(slots) // batch
    for sample in range(batch):
        for token in range(tokens):
            start = slots[sample * pages + token // size]
            if start >= 0:
                yield sample * tokens + token, start // size * size + token % size
