"""What ATB's mask types add to the scores.

The vendor's enumeration SelfAttentionParam::MaskType names them (atb/infer_op_params.h).
"""

from enum import IntEnum

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.boost.sequences import Added, nothing

# A mask in bfloat16 holds ones where it hides; the kernel multiplies it with this.
BFLOAT16_UNIT = -3e38


class MaskType(IntEnum):
    """The vendor's `mask_type` of self-attention."""

    UNDEFINED = 0
    NORM = 1
    ALIBI = 2
    NORM_COMPRESS = 3
    ALIBI_COMPRESS = 4
    ALIBI_COMPRESS_SQRT = 5


def given_mask(mask: Tensor, kind: int) -> Added:
    """`mask` [..., Sq, Skv] as it is, one for each sequence where it has that many."""

    def added(number: int, queries: int, keys: int) -> Tensor:
        own = mask
        if mask.dim() == 4 or (mask.dim() == 3 and kind == MaskType.NORM and mask.shape[0] > 1):
            own = mask[number]
        values = own[..., :queries, :keys].float()
        if mask.dtype == torch.bfloat16 and kind == MaskType.NORM:
            values = values * BFLOAT16_UNIT
        return values.reshape(1, -1, queries, keys)

    return added


def causal(number: int, queries: int, keys: int) -> Tensor:
    """Hides keys that come after the query; both end at the same token."""
    return _hidden_later(torch.zeros(1, 1, queries, keys))


def alibi(slopes: Tensor, root: bool) -> Added:
    """ALiBi of slopes [N] below zero, grown by distance or its root, and causal."""

    def added(number: int, queries: int, keys: int) -> Tensor:
        distance = torch.arange(keys - queries, keys).unsqueeze(1) - torch.arange(keys)
        grown = distance.clamp_min(0).float()
        grown = grown.sqrt() if root else grown
        return _hidden_later(slopes.float().view(1, -1, 1, 1) * grown)

    return added


def added_by(operator: str, mask: Tensor | None, kind: int, slopes: Tensor | None) -> Added:
    """What `mask` adds where its type is `kind`. Raises NotEmulated for other types."""
    if kind == MaskType.UNDEFINED or (mask is None and slopes is None):
        return nothing
    if kind in (MaskType.NORM, MaskType.ALIBI) and mask is not None:
        return given_mask(mask, kind)
    if kind == MaskType.NORM_COMPRESS:
        return causal
    if kind in (MaskType.ALIBI_COMPRESS, MaskType.ALIBI_COMPRESS_SQRT) and slopes is not None:
        return alibi(slopes, kind == MaskType.ALIBI_COMPRESS_SQRT)
    raise NotEmulated(f"{operator}: mask_type {kind} is not emulated")


def _hidden_later(scores: Tensor) -> Tensor:
    queries, keys = scores.shape[-2:]
    later = torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)
    return scores.masked_fill(later, -torch.inf)
