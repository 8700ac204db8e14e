"""Division in place of integers, which the chip carries out and PyTorch refuses."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter

SOURCE = "github.com/Ascend/op-plugin op_plugin/ops/opapi/DivKernelNpuOpApi.cpp"
chapter = Chapter(
    source=f"{SOURCE}; averages of integers in github.com/Ascend/pytorch "
    "test/distributed/test_allreduce.py"
)


@chapter.reference("aten::div_.Tensor", "aten::div_.Scalar")
def divide_in_place(self: Tensor, other: Tensor | float) -> Tensor:
    """The quotient, which is computed in float32 and cut where `self` has integers."""
    if self.dtype.is_floating_point or self.dtype.is_complex or self.dtype == torch.bool:
        return self.div_(other)
    return self.copy_(torch.div(self, other))
