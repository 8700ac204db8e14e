"""Grouped products of 8-bit floats, each row and column with a scale of its own."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/ScaledGroupMmKernelNpuOpApi.cpp"))


@chapter.reference("aten::_scaled_grouped_mm")
def scaled_grouped_mm(
    self: Tensor,
    mat2: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    scale_result: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    use_fast_accum: bool = False,
) -> Tensor:
    """Rows of `self` (m, k) by the matrix of their group in `mat2` (groups, k, n), as bfloat16.

    Group g ends before row `offs[g]`. `scale_a` is (m,), `scale_b` (groups, n), in float32.
    """
    name = "NPU _scaled_grouped_mm"
    require(bias is None, f"{name} does not support bias yet")
    require(scale_result is None, f"{name} does not support scale_result yet")
    require(
        out_dtype in (None, torch.bfloat16),
        "_scaled_grouped_mm on NPU only supports BF16 output type",
    )
    return _product(self, mat2, scale_a, scale_b, offs)


@chapter.reference(
    "aten::_scaled_grouped_mm_v2", source=code_of("opapi/ScaledGroupMmV2KernelNpuOpApi.cpp")
)
def scaled_grouped_mm_v2(
    self: Tensor,
    mat2: Tensor,
    scale_a: list[Tensor],
    recipe_a: list[int],
    swizzle_a: list[int],
    scale_b: list[Tensor],
    recipe_b: list[int],
    swizzle_b: list[int],
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    contraction_dim: list[int] | None = None,
    use_fast_accum: bool = False,
) -> Tensor:
    """As `scaled_grouped_mm`, with the first scale of each list."""
    name = "NPU _scaled_grouped_mm_v2"
    require(bias is None, f"{name} does not support bias parameter")
    require(out_dtype in (None, torch.bfloat16), f"{name} only supports BF16 output type")
    require(
        self.shape[-1] % 16 == 0,
        f"mat_a trailing dimension must be multiple of 16, current shape: {list(self.shape)}",
    )
    require(
        mat2.shape[-2] % 16 == 0 and mat2.shape[-1] % 16 == 0,
        f"mat_b dimensions must be multiple of 16, current shape: {list(mat2.shape)}",
    )
    return _product(self, mat2, scale_a[0], scale_b[0], offs)


def _product(
    rows: Tensor, weights: Tensor, row_scale: Tensor, column_scale: Tensor, ends: Tensor | None
) -> Tensor:
    if rows.dim() != 2 or weights.dim() != 3:
        raise NotEmulated(
            "_scaled_grouped_mm: only rows (2 dimensions) by a matrix for each group "
            f"(3 dimensions), not {rows.dim()} by {weights.dim()}"
        )
    if row_scale.dtype != torch.float32 or column_scale.dtype != torch.float32:
        raise NotEmulated("_scaled_grouped_mm: scales of blocks (float8_e8m0fnu)")
    require(
        rows.shape[1] == weights.shape[1], "contraction dimension mismatch between mat_a and mat_b"
    )
    require(ends is not None, "offsets required when using 2D input tensor")
    assert ends is not None
    result = torch.zeros(rows.shape[0], weights.shape[2])
    first = 0
    for group, end in enumerate(ends.tolist()):
        scaled = rows[first:end].float() * row_scale[first:end, None]
        result[first:end] = scaled @ (weights[group].float() * column_scale[group])
        first = end
    return result.to(torch.bfloat16)
