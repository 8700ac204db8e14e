"""Changes of dtype: npu_dtype_cast and its forms."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.formats import format_of
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/CastKernelNpuOpApi.cpp"))

# The dtypes PyTorch has and the chip's quantised formats have not (c10/core/ScalarType.h).
WIDE = {2: torch.int16, 4: torch.int64, 7: torch.float64, 9: torch.complex64, 11: torch.bool}


@chapter.reference("npu::npu_dtype_cast")
def dtype_cast(input: Tensor, dtype: int, input_dtype: int | None = None) -> Tensor:
    """`input` in the dtype of that number."""
    refuse("npu_dtype_cast", input_dtype=input_dtype)
    return input.to(_dtype(dtype), copy=True)


@chapter.reference("npu::_npu_dtype_cast")
def plain_dtype_cast(input: Tensor, dtype: torch.dtype) -> Tensor:
    """`input` in `dtype`."""
    return input.to(dtype, copy=True)


@chapter.reference("npu::npu_dtype_cast_")
def dtype_cast_(input: Tensor, src: Tensor) -> Tensor:
    """Write `src` into `input` in the dtype of `input`."""
    # Nothing is written where the dtypes are the same already: there is no cast to do.
    return input if input.dtype == src.dtype else input.copy_(src)


@chapter.reference("npu::npu_dtype_cast_backward")
def dtype_cast_backward(
    grad: Tensor,
    dtype: torch.dtype,
    grad_dtype: int | None = None,
    input_dtype: int | None = None,
) -> Tensor:
    """`grad`, which is of `grad_dtype`, in the dtype of the forward's input."""
    refuse("npu_dtype_cast_backward", input_dtype=input_dtype)
    if grad_dtype is not None:
        _dtype(grad_dtype)  # refuses those of which several lie in one item
    return grad.to(dtype, copy=True)


@chapter.reference("npu::_npu_dtype_cast_backward")
def plain_dtype_cast_backward(grad: Tensor, dtype: torch.dtype) -> Tensor:
    """`grad` in the dtype of the forward's input."""
    return grad.to(dtype, copy=True)


def _dtype(code: int) -> torch.dtype:
    if code in WIDE:
        return WIDE[code]
    found = format_of(code)
    if found.per_item > 1:
        raise NotEmulated(f"npu_dtype_cast: a cast to {found.name} is not emulated")
    return found.storage
