"""Softmax that widens half precision on its way, which PyTorch has for accelerators only."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter

chapter = Chapter(
    source="github.com/Ascend/op-plugin op_plugin/ops/opapi/SoftmaxKernelNpuOpApi.cpp, "
    "LogSoftmaxKernelNpuOpApi.cpp, SoftmaxBackwardKernelNpuOpApi.cpp"
)


@chapter.reference("aten::_softmax")
def softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """Softmax along `dim`; in float32 where `half_to_float` says so."""
    return torch._softmax(self.float() if half_to_float else self, dim, False)


@chapter.reference("aten::_log_softmax")
def log_softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """The logarithm of `softmax`."""
    return torch._log_softmax(self.float() if half_to_float else self, dim, False)


@chapter.reference("aten::_softmax_backward_data")
def softmax_backward(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype
) -> Tensor:
    """Gradient of `softmax` for its input, in the dtype that the input had."""
    grad = torch._softmax_backward_data(grad_output, output, dim, output.dtype)
    return grad.to(input_dtype)


@chapter.reference("aten::_log_softmax_backward_data")
def log_softmax_backward(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype
) -> Tensor:
    """Gradient of `log_softmax` for its input, in the dtype that the input had."""
    grad = torch._log_softmax_backward_data(grad_output, output, dim, output.dtype)
    return grad.to(input_dtype)
