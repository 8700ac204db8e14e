"""Repeated elements, whose gradient is a sum: in float32, where PyTorch's adds in half precision."""

from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/RepeatInterleaveBackwardKernelOpApi.cpp"))


@chapter.reference("aten::repeat_interleave.self_Tensor")
def repeat_interleave(
    self: Tensor, repeats: Tensor, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element of `self` along `dim` as often as `repeats` says."""
    return torch.repeat_interleave(self, repeats, dim, output_size=output_size)


@chapter.gradient("aten::repeat_interleave.self_Tensor")
def repeat_interleave_gradient(
    arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Gradient of `self`: the sum over the copies of each element."""
    (self, repeats, dim, _), grad = arguments, grads[0]
    if grad is None:
        return None, None, None, None
    shape, axis = (self.shape, dim) if dim is not None else ((self.numel(),), 0)
    count = shape[axis]
    places = torch.arange(count).repeat_interleave(repeats.long().expand(count))
    total = torch.zeros(shape).index_add(axis, places, grad.float())
    return total.to(grad.dtype).reshape(self.shape), None, None, None
