"""How attention tensors lie in memory: the vendor's layout names, and the way to BNSD and back.

B batch, S sequence, N heads, D head size, H = N * D, T = all tokens of all sequences in a row.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require

# Where each axis of BNSD is found. T stands for S where sequences lie in a row: batch of one.
_AXES = {
    "BNSD": "BNSD",
    "BSND": "BSND",
    "BSH": "BSND",
    "SBH": "SBND",
    "NBSD": "NBSD",
    "TND": "SND",
    "NTD": "NSD",
    "NSD": "NSD",
}
# A sequence's length is told apart by these only.
PACKED = ("TND", "NTD")


def to_bnsd(tensor: Tensor, layout: str, heads: int) -> Tensor:
    """View `tensor` as [B, N, S, D]; `heads` splits H where the layout has it."""
    axes = _axes(layout)
    if layout.endswith("H"):
        tensor = tensor.unflatten(-1, (heads, -1))
    if "B" not in axes:
        tensor, axes = tensor.unsqueeze(0), "B" + axes
    return tensor.permute([axes.index(axis) for axis in "BNSD"])


def from_bnsd(tensor: Tensor, layout: str) -> Tensor:
    """Lay [B, N, S, D] out as `layout`, in memory of its own."""
    axes = _axes(layout)
    if "B" not in axes:
        tensor = tensor.squeeze(0)
    tensor = tensor.permute(
        ["BNSD".replace("B", "" if "B" not in axes else "B").index(a) for a in axes]
    )
    if layout.endswith("H"):
        tensor = tensor.flatten(-2)
    return tensor.clone(memory_format=torch.contiguous_format)


def heads_of(tensor: Tensor, layout: str, head_size: int) -> int:
    """How many heads of `head_size` are in `tensor`."""
    if layout.endswith("H"):
        return tensor.shape[-1] // head_size
    return tensor.shape[_axes(layout).index("N")]


def spans(ends: Sequence[int]) -> list[slice]:
    """The tokens of each sequence, given where each one ends.

    A row of zeros at the end stands for sequences that take no part.
    """
    return [slice(start, max(start, end)) for start, end in pairwise([0, *ends])]


def _axes(layout: str) -> str:
    require(layout in _AXES, f"layout {layout} is none of {', '.join(_AXES)}")
    return _AXES[layout]
