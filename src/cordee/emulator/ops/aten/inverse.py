"""The inverse of matrices: an operator of its own on the chip, in half precision too."""

from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

HALF = (torch.float16, torch.bfloat16)

chapter = Chapter(source=code_of("aclops/InverseKernelNpu.cpp"))


@chapter.reference("aten::inverse")
def inverse(self: Tensor) -> Tensor:
    """Of each matrix in `self` (..., n, n); half precision is widened and rounded once."""
    wide = self.float() if self.dtype in HALF else self
    result: Tensor = torch.linalg.inv(wide)
    return result.to(self.dtype)


@chapter.gradient("aten::inverse")
def inverse_gradient(
    arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Gradient of `self`: d(A^-1) = -A^-1 dA A^-1."""
    (result,), (grad,) = outputs, grads
    return (None,) if grad is None else (-(result.mH @ grad @ result.mH),)


@chapter.reference("aten::inverse.out")
def inverse_out(self: Tensor, *, out: Tensor) -> Tensor:
    return out.resize_(self.shape).copy_(inverse(self))
