"""Products of matrices of small integers, exact and fast."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import unpack_int4

FLOAT32_INTEGERS = 2**24  # every whole number up to here is a float32


def integer_product(x1: Tensor, x2: Tensor) -> Tensor:
    """`x1 @ x2` of integer matrices, exact, as float64 whole numbers.

    PyTorch's integer product on a CPU is a plain loop; a floating-point one is exact as long as
    no partial sum outgrows the mantissa.
    """
    if 0 in (*x1.shape, *x2.shape):
        return x1.double() @ x2.double()
    most = int(x1.abs().amax()) * int(x2.abs().amax()) if x1.dtype != torch.int8 else 2**14
    if most * x1.shape[-1] <= FLOAT32_INTEGERS:
        return (x1.float() @ x2.float()).double()
    return x1.double() @ x2.double()


def int4_operands(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    """The int4 matrices in an int32 `x1` (m, k/8) and `x2`, which is (k, n/8) or (k/8, n)."""
    left = unpack_int4(x1)
    return left, int4_weight(x2, left.shape[-1])


def int4_weight(weight: Tensor, rows: int) -> Tensor:
    """The (rows, n) int4 matrix in an int32 `weight`, packed along either of its last axes."""
    if weight.shape[-2] == rows:
        return unpack_int4(weight)
    require(
        weight.shape[-2] * 8 == rows,
        f"the K axis is {rows} in x1, and {weight.shape[-2]} int32 of 8 int4 in x2",
    )
    return unpack_int4(weight.mT.contiguous()).mT
