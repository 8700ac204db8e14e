"""Products whose result has a dtype of its own, and kernels that stand for a product."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import CONFIG, code_of

chapter = Chapter(source="PyTorch aten/src/ATen/native/native_functions.yaml")


@chapter.reference("aten::mm.dtype", "aten::bmm.dtype")
def product(self: Tensor, mat2: Tensor, out_dtype: torch.dtype) -> Tensor:
    """`self @ mat2`, rounded once, to `out_dtype`."""
    return torch.matmul(_accurate(self), _accurate(mat2)).to(out_dtype)


@chapter.reference("aten::mm.dtype_out", "aten::bmm.dtype_out")
def product_out(self: Tensor, mat2: Tensor, out_dtype: torch.dtype, *, out: Tensor) -> Tensor:
    return _write(out, product(self, mat2, out_dtype))


@chapter.reference("aten::addmm.dtype")
def sum_and_product(
    self: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    out_dtype: torch.dtype,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> Tensor:
    """`beta * self + alpha * mat1 @ mat2`, rounded once, to `out_dtype`."""
    scaled: Tensor = alpha * torch.matmul(_accurate(mat1), _accurate(mat2))
    # As everywhere in PyTorch, what is multiplied by a beta of 0 may be NaN.
    return (scaled if beta == 0 else beta * _accurate(self) + scaled).to(out_dtype)


@chapter.reference("aten::baddbmm.dtype")
def sum_and_batched_product(
    self: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    out_dtype: torch.dtype,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> Tensor:
    found: Tensor = sum_and_product(self, batch1, batch2, out_dtype, beta=beta, alpha=alpha)
    return found


@chapter.reference("aten::addmm.dtype_out")
def sum_and_product_out(
    self: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    out_dtype: torch.dtype,
    *,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor,
) -> Tensor:
    return _write(out, sum_and_product(self, mat1, mat2, out_dtype, beta=beta, alpha=alpha))


@chapter.reference("aten::baddbmm.dtype_out")
def sum_and_batched_product_out(
    self: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    out_dtype: torch.dtype,
    *,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor,
) -> Tensor:
    return _write(out, sum_and_product(self, batch1, batch2, out_dtype, beta=beta, alpha=alpha))


@chapter.reference(
    "aten::matmul_backward", source=code_of("opapi/MatmulBackwardKernelNpuOpApi.cpp")
)
def matmul_backward(
    grad: Tensor, self: Tensor, other: Tensor, mask: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `self @ other` for those of the two that `mask` asks for.

    As the adapter's, they keep what the product added: a row of a vector `self`, and the batch that
    another's was broadcast over. Autograd takes it off, and placements of shards count with it.
    """
    rows, columns = _as_matrices(self, other)
    grad = grad.unsqueeze(-1) if other.dim() == 1 else grad
    grad = grad.unsqueeze(-2) if self.dim() == 1 else grad
    of_self = _gradient_of_first(grad, rows, columns, self.shape) if mask[0] else None
    if not mask[1]:
        return of_self, None
    of_other = _gradient_of_second(grad, rows, columns, other.shape)
    return of_self, of_other.squeeze(-1) if other.dim() == 1 < of_other.dim() else of_other


def _as_matrices(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return (
        first.unsqueeze(0) if first.dim() == 1 else first,
        second.unsqueeze(-1) if second.dim() == 1 else second,
    )


def _gradient_of_first(grad: Tensor, first: Tensor, second: Tensor, shape: torch.Size) -> Tensor:
    if _is_one_matrix(first) and second.dim() > 2:  # the batch is summed within the product
        wide = grad.movedim(-2, 0).reshape(grad.shape[-2], -1)
        return (wide @ second.mT.reshape(-1, second.shape[-2])).reshape(shape)
    return grad @ second.mT


def _gradient_of_second(grad: Tensor, first: Tensor, second: Tensor, shape: torch.Size) -> Tensor:
    if _is_one_matrix(second) and first.dim() > 2:
        tall = first.reshape(-1, first.shape[-1])
        return (tall.mT @ grad.reshape(-1, grad.shape[-1])).reshape(shape)
    return first.mT @ grad


def _is_one_matrix(x: Tensor) -> bool:
    return all(size == 1 for size in x.shape[:-2])


@chapter.reference(
    "aten::_conv_depthwise2d", source=code_of("opapi/ConvDepthwise2dKernelNpuOpApi.cpp")
)
def conv_depthwise2d(
    self: Tensor,
    weight: Tensor,
    kernel_size: list[int],
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    """A convolution with one group per channel; `kernel_size` is that of `weight`."""
    return torch.conv2d(self, weight, bias, stride, padding, dilation, groups=self.shape[1])


@chapter.reference(
    "aten::_conv_depthwise2d.out", source=code_of("opapi/ConvDepthwise2dKernelNpuOpApi.cpp")
)
def conv_depthwise2d_out(
    self: Tensor,
    weight: Tensor,
    kernel_size: list[int],
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    *,
    out: Tensor,
) -> Tensor:
    return _write(out, conv_depthwise2d(self, weight, kernel_size, bias, stride, padding, dilation))


@chapter.reference("aten::_masked_scale", source=CONFIG)
def masked_scale(self: Tensor, mask: Tensor, scale: float) -> Tensor:
    """`self` where `mask` is 1, times `scale`: what a dropout is, and its gradient."""
    return (_accurate(self) * _accurate(mask) * scale).to(self.dtype)


def _accurate(x: Tensor) -> Tensor:
    return x.double() if x.dtype == torch.float64 else x.float()


def _write(out: Tensor, result: Tensor) -> Tensor:
    return out.resize_(result.shape).copy_(result)
