"""Picking elements by place or by size, and the sums that undo it in a backward."""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import CONFIG, code_of

chapter = Chapter(source=code_of("aclops/MaxV1KernelNpu.cpp"))


@chapter.reference("npu::npu_max.dim")
def largest(input: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The largest elements along `dim` and where they are, as int32."""
    values, indices = torch.max(input, dim, keepdim)
    return values, indices.int()


@chapter.reference("npu::npu_min.dim", source=code_of("aclops/MinV1KernelNpu.cpp"))
def smallest(input: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The smallest elements along `dim` and where they are, as int32."""
    values, indices = torch.min(input, dim, keepdim)
    return values, indices.int()


@chapter.reference("npu::npu_max_backward", "npu::npu_min_backward")
def extremum_backward(
    grad: Tensor, dim: int, indices: Tensor, sizes: list[int], keepdim: bool
) -> Tensor:
    """Gradient of the input [sizes]: `grad` where the extremes were."""
    if not sizes:
        return grad.reshape(()).clone()
    if not keepdim:
        grad, indices = grad.unsqueeze(dim), indices.unsqueeze(dim)
    return torch.zeros(sizes, dtype=grad.dtype).scatter_(dim, indices.long(), grad)


@chapter.reference("npu::npu_sort_v2", source=code_of("aclops/SortWithoutIndicesKernelNpu.cpp"))
def sort_v2(input: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """`input` sorted along `dim`."""
    return torch.sort(input, dim, descending).values


@chapter.reference("npu::npu_sort_v2.out", source=code_of("aclops/SortWithoutIndicesKernelNpu.cpp"))
def sort_v2_out(input: Tensor, dim: int = -1, descending: bool = False, *, out: Tensor) -> Tensor:
    """`sort_v2` into `out`."""
    return out.copy_(torch.sort(input, dim, descending).values)


@chapter.reference("npu::npu_one_hot", source=code_of("aclops/OnehotNpu.cpp"))
def one_hot(
    input: Tensor,
    num_classes: int = -1,
    depth: int = 1,
    on_value: float = 1,
    off_value: float = 0,
) -> Tensor:
    """`on_value` at each index along a last axis of `depth`, `off_value` elsewhere, as float32."""
    # What the schema calls num_classes is the axis to put them on.
    refuse("npu_one_hot", num_classes=num_classes not in (-1, input.dim()))
    hot = torch.arange(depth) == input.unsqueeze(-1)
    return torch.where(hot, float(on_value), float(off_value))


@chapter.reference(
    "npu::npu_masked_fill_range", source=code_of("aclops/MaskedFillRangeKernelNpu.cpp")
)
def masked_fill_range(
    input: Tensor, start: Tensor, end: Tensor, value: Tensor, axis: int = -1
) -> Tensor:
    """`input` with `value[i]` from `start[i, j]` to `end[i, j]` of `axis`.

    Along the last axis of several, range j is filled in row j of the first axis only.
    """
    last = axis % input.dim() == input.dim() - 1
    out = input.clone()
    for i in range(start.shape[0]):
        for j in range(start.shape[1]):
            part = out[j] if last and input.dim() > 1 else out
            along = -1 if last else axis % input.dim()
            first, stop = int(start[i, j]), min(int(end[i, j]), part.shape[along])
            part.narrow(along, first, max(stop - first, 0)).fill_(value[i])
    return out


@chapter.reference("npu::npu_gather_sparse_index", source=CONFIG)
def gather_sparse_index(input: Tensor, index: Tensor) -> Tensor:
    """Rows `index` of `input`: [*index.shape, *input.shape[1:]]."""
    return input[index.long()]


@chapter.reference(
    "npu::npu_gather_sparse_index_backward",
    source=code_of("opapi/GatherSparseBackwardNpuOpApi.cpp"),
)
def gather_sparse_index_backward(grad: Tensor, self_sizes: list[int], index: Tensor) -> Tensor:
    """Gradient of the rows' source: the sum over each row's uses."""
    total: Tensor = index_add_(torch.zeros(self_sizes, dtype=grad.dtype), index, grad)
    return total


@chapter.reference("npu::_npu_index_add_", source=CONFIG)
def index_add_(input: Tensor, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
    """Add `alpha * source[i]` to row `index[i]` of `input`."""
    rows = source.reshape(-1, *input.shape[1:]).to(input.dtype)
    return input.index_add_(0, index.flatten().long(), rows, alpha=alpha)


chapter.pure("npu::_npu_index_add", index_add_, "input", source=CONFIG)


@chapter.reference(
    "npu::npu_gather_backward", source=code_of("opapi/GatherBackwardKernelNpuOpApi.cpp")
)
def gather_backward(
    grad: Tensor, self_size: list[int], dim: int, index: Tensor, sparse_grad: bool
) -> Tensor:
    """Gradient of what torch.gather took `index` of along `dim`."""
    refuse("npu_gather_backward", sparse_grad=sparse_grad)
    zeros = torch.zeros(self_size, dtype=grad.dtype)
    if grad.dim() == 0 and not self_size:
        return grad.clone()
    return zeros.scatter_add_(dim, index, grad)


@chapter.reference(
    "npu::repeat_interleave_backward_int",
    source=code_of("opapi/RepeatInterleaveBackwardKernelOpApi.cpp"),
)
def repeat_interleave_backward_int(
    grad: Tensor, input: Tensor, repeats: int, dim: int | None = None
) -> Tensor:
    """Gradient of `input`: the sum over each element's `repeats` copies."""
    require(repeats != 0, "repeats must be not zero")
    axis = (-1 if dim is None else dim) % grad.dim()
    elements = grad.shape[axis] // repeats
    copies: Tensor = grad.float().unflatten(axis, (elements, repeats))  # a shard's may be empty
    return copies.sum(axis + 1).reshape(input.shape).to(grad.dtype)


@chapter.reference(
    "npu::repeat_interleave_backward_tensor",
    source=code_of("opapi/RepeatInterleaveBackwardKernelOpApi.cpp"),
)
def repeat_interleave_backward_tensor(
    grad: Tensor, input: Tensor, repeats: Tensor, dim: int | None = None
) -> Tensor:
    """Gradient of `input`, whose elements along `dim` were repeated `repeats[i]` times."""
    if repeats.numel() == 1:
        alike: Tensor = repeat_interleave_backward_int(grad, input, int(repeats), dim)
        return alike
    axis = (-1 if dim is None else dim) % grad.dim()
    source = torch.arange(repeats.numel()).repeat_interleave(repeats.long())
    shape = [*grad.shape[:axis], repeats.numel(), *grad.shape[axis + 1 :]]
    total = torch.zeros(shape).index_add_(axis, source, grad.float())
    return total.reshape(input.shape).to(grad.dtype)
