"""ATB's product that is added in float32, and its quantisation."""

from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("atb/LinearAtb.cpp"))

MOST_AXES = 8


@chapter.reference("atb::_npu_matmul_add_fp32")
def matmul_add_fp32(x: Tensor, weight: Tensor, C: Tensor) -> None:
    """Add `x` transposed times `weight` to `C`, in place: what weights' gradients add up to."""
    C += x.float().T @ weight.float()


@chapter.reference("atb::_npu_quantize_per_tensor", source=code_of("atb/QuantPerTensorAtb.cpp"))
def quantize_per_tensor(x: Tensor, scale: Tensor, zero_point: Tensor, y: Tensor) -> None:
    """Write `x` divided by `scale`, rounded, plus `zero_point`, into `y` of int8."""
    axes = max(tensor.dim() for tensor in (x, scale, zero_point, y))
    require(
        axes <= MOST_AXES,
        f"ATB tensor supports at most 8 dimensions, but got {axes}",
    )
    whole = (x.float() / scale.float()).round()
    if zero_point.numel():
        whole = whole + zero_point.float()
    y.copy_(whole.clamp(-128, 127))
