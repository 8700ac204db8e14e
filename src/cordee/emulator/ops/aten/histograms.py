"""Counts of integers, which the chip makes and PyTorch's kernel for the CPU refuses."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter

chapter = Chapter(source="gitcode.com/cann/ops-math math/histogram_v2/docs/aclnnHistc.md")


@chapter.reference("aten::histc")
def histc(self: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements are in each of `bins` equal parts of `min` to `max`, in the dtype of `self`."""
    if self.dtype.is_floating_point:
        return torch.histc(self, bins, min, max)
    return torch.histc(self.double(), bins, min, max).to(self.dtype)
