"""Signs packed eight to a byte, and the chip's overflow flags."""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/SignBitsPackKernelNpu.cpp"))

FLAGS = 8


@chapter.reference("npu::npu_sign_bits_pack")
def sign_bits_pack(input: Tensor, size: int) -> Tensor:
    """A bit for each element, 1 where it is not negative, first in the lowest [size, bytes / size]."""
    require(input.dim() == 1, "input must be one-dimensional")
    require(
        input.dtype in (torch.float16, torch.float32),
        "all only supports torch.float16 and torch.float32 dtypes",
    )
    count = -(-input.numel() // 8)
    require(size != 0 and count % size == 0, "all must be divisible by size")
    positive = torch.zeros(count * 8, dtype=torch.int64)
    positive[: input.numel()] = (input >= 0).long()
    packed = (positive.reshape(-1, 8) << torch.arange(8)).sum(-1)
    return packed.to(torch.uint8).reshape(size, -1)


@chapter.reference(
    "npu::npu_sign_bits_unpack", source=code_of("aclops/SignBitsUnpackKernelNpu.cpp")
)
def sign_bits_unpack(input: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """1 for each bit that is set and -1 for each that is not [size, bits / size]."""
    require(input.dim() == 1, "input value should be a 1-dimensional tensor")
    require(input.numel() * 8 % size == 0, "input value length*8 must be multiple of size")
    set_ = (input.long().unsqueeze(-1) >> torch.arange(8)) & 1
    return (2 * set_ - 1).to(dtype).reshape(size, -1)


@chapter.reference("npu::npu_alloc_float_status", source=code_of("aclops/FloatStatusKernelNpu.cpp"))
def alloc_float_status(input: Tensor) -> Tensor:
    """Room for the overflow flags, all clear."""
    return torch.zeros(FLAGS)


@chapter.reference("npu::npu_get_float_status", source=code_of("aclops/FloatStatusKernelNpu.cpp"))
def get_float_status(input: Tensor, mode: int = 0) -> Tensor:
    """The overflow flags. This chip keeps infinities and NaN in its results and sets no flag."""
    require(mode in (0, 1), f"mode only supported for 0 and 1, but got {mode}")
    return torch.zeros(FLAGS, dtype=torch.int32)


@chapter.reference("npu::npu_clear_float_status", source=code_of("aclops/FloatStatusKernelNpu.cpp"))
def clear_float_status(input: Tensor, mode: int = 0) -> Tensor:
    """Clear the overflow flags; what it gives holds nothing."""
    require(mode in (0, 1), f"mode only supported for 0 and 1, but got {mode}")
    return unwritten((FLAGS,), input.dtype)
