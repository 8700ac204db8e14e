"""A number for the bits of tensors: where one bit of them is another, it is another number.

Bits are summed as integers, eight bytes at a time, in one pass over memory; sums of blocks are multiplied by odd
numbers that follow from their place. No two states that differ in one block have the same digest, and others hardly.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from cordee.train.worker.spread import part_of

BLOCK = 1024
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ODD = 0x1E3779B97F4A7C15


def digest(tensors: Sequence[Tensor]) -> int:
    """Of all of them, in this order; never 0."""
    sums: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel():
            sums.setdefault(tensor.device, []).extend(_sums(tensor))
    whole = 1
    for found in sums.values():
        flat = torch.cat(found)
        places = torch.arange(flat.numel(), device=flat.device) * 2 + 1
        whole = whole * 31 + int((flat * (places * _ODD)).sum())
    return (whole & (1 << 64) - 1) or 1


def shapes(parameters: Sequence[Tensor]) -> str:
    """Of what parameters are, but for their numbers."""
    found = [(tuple(part_of(p).shape), str(p.dtype)) for p in parameters]
    return hashlib.blake2b(repr(found).encode(), digest_size=8).hexdigest()


def _sums(tensor: Tensor) -> list[Tensor]:
    """Of each block of a tensor, and of what is left."""
    flat = tensor.detach().contiguous().view(-1)
    size = flat.element_size()
    if size > 8:
        flat = torch.view_as_real(flat).view(-1)
        size = flat.element_size()
    if flat.storage_offset() * size % 8:
        flat = flat.clone()  # it could not be seen as words where it is
    even = flat.numel() * size // 8 * 8 // size
    words, rest = flat[:even].view(torch.int64), flat[even:]
    whole = words.numel() // BLOCK * BLOCK
    found = [words[:whole].view(-1, BLOCK).sum(1)] if whole else []
    found.append(words[whole:].sum().view(1))
    if rest.numel():
        found.append(rest.view(_BITS[size]).sum(dtype=torch.int64).view(1))
    return found
