"""Operators that place elements anew: transposes, slices, padding, strided copies."""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/TransposeKernelNpu.cpp"))


@chapter.reference("npu::npu_transpose")
def transpose(input: Tensor, perm: list[int], require_contiguous: bool = True) -> Tensor:
    """`input` with its axes in the order `perm`."""
    return input.permute(perm).clone(memory_format=torch.contiguous_format)


@chapter.reference("npu::npu_transpose.out")
def transpose_out(
    input: Tensor, perm: list[int], require_contiguous: bool = True, *, out: Tensor
) -> Tensor:
    """`transpose` into `out`."""
    return out.copy_(input.permute(perm))


@chapter.reference("npu::npu_reshape", source=code_of("aclops/ReshapeKernelNpu.cpp"))
def reshape(input: Tensor, shape: list[int], can_refresh: bool = False) -> Tensor:
    """The elements of `input` in another shape."""
    return input.reshape(shape).clone(memory_format=torch.contiguous_format)


@chapter.reference("npu::npu_reshape.out", source=code_of("aclops/ReshapeKernelNpu.cpp"))
def reshape_out(
    input: Tensor, shape: list[int], can_refresh: bool = False, *, out: Tensor
) -> Tensor:
    """`reshape` into `out`."""
    refuse("npu_reshape.out", can_refresh=can_refresh)
    return out.copy_(input.reshape(out.shape))


@chapter.reference("npu::npu_slice", source=code_of("aclops/SliceKernelNpu.cpp"))
def slice_of(input: Tensor, offsets: list[int], size: list[int]) -> Tensor:
    """The box of `input` that starts at `offsets`."""
    box = tuple(slice(start, start + n) for start, n in zip(offsets, size, strict=True))
    return input[box].clone(memory_format=torch.contiguous_format)


@chapter.reference("npu::npu_slice.out", source=code_of("aclops/SliceKernelNpu.cpp"))
def slice_out(input: Tensor, offsets: list[int], size: list[int], *, out: Tensor) -> Tensor:
    """`slice_of` into `out`."""
    box = tuple(slice(start, start + n) for start, n in zip(offsets, size, strict=True))
    return out.copy_(input[box])


@chapter.reference("npu::npu_pad", source=code_of("aclops/PadKernelNpu.cpp"))
def pad(input: Tensor, paddings: list[int]) -> Tensor:
    """`input` with zeros around it: how many before and after, axis by axis from the first."""
    given = [*paddings, *[0] * (2 * input.dim() - len(paddings))]
    sides = [given[i : i + 2] for i in range(0, len(given), 2)]
    # PyTorch counts axes from the last.
    return torch.nn.functional.pad(input, [n for side in reversed(sides) for n in side])


@chapter.reference("npu::npu_broadcast", source=code_of("aclops/BroadcastKernelNpu.cpp"))
def broadcast(input: Tensor, size: list[int]) -> Tensor:
    """`input` repeated up to `size`."""
    return input.expand(size).clone(memory_format=torch.contiguous_format)


@chapter.reference("npu::npu_broadcast.out", source=code_of("aclops/BroadcastKernelNpu.cpp"))
def broadcast_out(input: Tensor, size: list[int], *, out: Tensor) -> Tensor:
    """`broadcast` into `out`."""
    return out.copy_(input.expand(size))


@chapter.reference("npu::npu_indexing", source=code_of("aclops/IndexingKernelNpu.cpp"))
def indexing(
    input: Tensor,
    begin: list[int],
    end: list[int],
    strides: list[int],
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Tensor:
    """Every `strides`-th element from `begin` to `end` of each axis; a mask's bit frees a bound."""
    refuse(
        "npu_indexing",
        ellipsis_mask=ellipsis_mask != 0,
        new_axis_mask=new_axis_mask != 0,
        shrink_axis_mask=shrink_axis_mask != 0,
    )
    require(0 not in strides, "stride should not be 0")
    result = input
    for axis, bounds in enumerate(zip(begin, end, strides, strict=True)):
        first = None if begin_mask >> axis & 1 else bounds[0]
        last = None if end_mask >> axis & 1 else bounds[1]
        taken = range(input.shape[axis])[first : last : bounds[2]]
        result = result.index_select(axis, torch.tensor(taken, dtype=torch.int64))
    return result.clone()


@chapter.reference("npu::npu_indexing.out", source=code_of("aclops/IndexingKernelNpu.cpp"))
def indexing_out(
    input: Tensor,
    begin: list[int],
    end: list[int],
    strides: list[int],
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    *,
    out: Tensor,
) -> Tensor:
    """`indexing` into `out`."""
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    return out.copy_(indexing(input, begin, end, strides, *masks))


@chapter.reference("npu::npu_stride_copy", source=code_of("aclops/AsStridedKernelNpu.cpp"))
def stride_copy(input: Tensor, shape: list[int], stride: list[int], storage_offset: int) -> Tensor:
    """The elements of the memory of `input` that `shape` and `stride` name."""
    named = input.as_strided(shape, stride, int(storage_offset))
    return named.clone(memory_format=torch.contiguous_format)


@chapter.reference("npu::npu_stride_copy.out", source=code_of("aclops/AsStridedKernelNpu.cpp"))
def stride_copy_out(
    input: Tensor, shape: list[int], stride: list[int], storage_offset: int, *, out: Tensor
) -> Tensor:
    """`stride_copy` into `out`."""
    return out.copy_(input.as_strided(shape, stride, int(storage_offset)))


@chapter.reference("npu::npu_stride_add", source=code_of("aclops/StrideAddKernelNpu.cpp"))
def stride_add(input: Tensor, other: Tensor, offset1: int, offset2: int, c1_len: int) -> Tensor:
    """The sum of `c1_len` blocks of 16 channels of each, from block `offset1` and `offset2` on."""
    shape = list(torch.broadcast_shapes(input.shape, other.shape))
    shape[1] = int(c1_len) * 16
    out = torch.zeros(shape, dtype=input.dtype)
    for tensor, offset in ((input, offset1), (other, offset2)):
        # Channels are stored in blocks of 16; those that a tensor lacks are zero.
        channels = tensor[:, int(offset) * 16 :][:, : shape[1]]
        out[:, : channels.shape[1]] += channels
    return out


@chapter.reference(
    "npu::npu_confusion_transpose", source=code_of("aclops/ConfusionTransposeKernelNpu.cpp")
)
def confusion_transpose(
    input: Tensor, perm: list[int], shape: list[int], transpose_first: bool
) -> Tensor:
    """A transpose then a reshape, or the other way round."""
    if transpose_first:
        return input.permute(perm).reshape(shape).clone()
    require(len(perm) <= len(shape), "npu_confusion_transpose: perm is longer than shape")
    return input.reshape(shape).permute(perm).clone(memory_format=torch.contiguous_format)


@chapter.reference(
    "npu::npu_confusion_transpose_backward",
    source=code_of("aclops/ConfusionTransposeKernelNpu.cpp"),
)
def confusion_transpose_backward(
    grad: Tensor, perm: list[int], shape: list[int], transpose_first: bool
) -> Tensor:
    """Gradient in the `shape` of the forward's input; `transpose_first` is that of the backward."""
    back = torch.argsort(torch.tensor(perm)).tolist()
    if transpose_first:
        return grad.permute(back).reshape(shape).clone()
    moved = grad.reshape([shape[axis] for axis in perm])
    return moved.permute(back).clone(memory_format=torch.contiguous_format)


@chapter.reference("npu::npu_view_copy", source=code_of("aclops/ViewcopyKernelNpu.cpp"))
def view_copy(input: Tensor, other: Tensor, non_blocking: bool) -> Tensor:
    """Write `other` into `input`, whatever its strides."""
    return input.copy_(other)


@chapter.reference("npu::one_", source=code_of("aclops/OnesKernelNpu.cpp"))
def one_(input: Tensor) -> Tensor:
    """Fill `input` with ones."""
    return input.fill_(1)
