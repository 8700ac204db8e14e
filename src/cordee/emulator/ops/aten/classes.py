"""Classes written out as vectors."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/OneHotKernelNpuOpApi.cpp"))


@chapter.reference("aten::one_hot")
def one_hot(self: Tensor, num_classes: int = -1) -> Tensor:
    """Of the dtype of the classes in `self` (...): (..., num_classes), 1 at each class, else 0.

    As many classes as the largest of them asks for where `num_classes` is -1. Classes outside the
    range give zeros.
    """
    require(
        num_classes >= -1,
        "NPU error, not yet support negative num_classes, when num_classes less than -1",
    )
    require(
        self.numel() != 0 or num_classes > 0,
        "NPU error, can not infer total number of classes from empty tensor.",
    )
    depth = num_classes if num_classes != -1 else max(int(self.max()) + 1, 1)
    return (self.unsqueeze(-1) == torch.arange(depth)).to(self.dtype)
