"""What is done to whole tensors around a training step: renorms, checks, hints to the memory."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/RenormBackwardKernelNpu.cpp"))


@chapter.reference("npu::npu_renorm_backward")
def renorm_backward(grad: Tensor, input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Gradient of what torch.renorm was given."""
    (found,) = vjp(lambda x: torch.renorm(x, p, dim, maxnorm), (input.float(),), (grad.float(),))
    assert found is not None
    return found.to(grad.dtype)


@chapter.reference(
    "npu::_amp_foreach_non_finite_check",
    source=code_of("opapi/AmpForeachNonFiniteCheckAndUnscaleKernelNpuOpApi.cpp"),
)
def non_finite_check(scaled_grads: list[Tensor]) -> bool:
    """Whether any gradient holds an infinity or NaN."""
    return not all(bool(grad.isfinite().all()) for grad in scaled_grads)


@chapter.reference("npu::npu_prefetch", source=code_of("opapi/PrefetchKernelNpuOpApi.cpp"))
def prefetch(input: Tensor, dependency: Tensor | None, max_size: int, offset: int = 0) -> None:
    """A hint to load `input` into the cache. It changes when data is read and nothing else."""
