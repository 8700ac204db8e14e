"""Dropout by masks of bits or bytes, and the masks themselves.

A mask of bits has one bit for each element, the first in the lowest, and room for a multiple of
128 elements; a set bit keeps the element. Draws come from PyTorch's generator on the host, which
the emulator has at the state of the device's.
"""

from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/DropoutGenMaskKernelNpuOpApi.cpp"))

ALIGNED = 128


@chapter.reference("npu::_npu_dropout_gen_mask.Tensor", seeded=False)
def gen_mask_of_seed(
    input: Tensor,
    size: list[int],
    p: float,
    seed: int,
    offset: int,
    parallel: bool | None = True,
    sync: bool | None = None,
) -> Tensor:
    """A mask of bits for `size`, each dropped with probability `p`; the same for the same seed."""
    # An odd multiplier makes every offset of a seed a different seed.
    own = (seed + offset * 0x9E3779B97F4A7C15) % 2**63
    return _bits(size, p, torch.Generator().manual_seed(own))


@chapter.reference("npu::npu_dropout_gen_mask", seeded=True)
def gen_mask(
    size: list[int],
    p: float,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Tensor:
    """A mask of bits for `size`, each dropped with probability `p`."""
    return _bits(size, p, None)


@chapter.reference("npu::_npu_dropout", source=code_of("aclops/DropoutKernelNpu.cpp"))
def dropout(input: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """`input` with each element dropped with probability `p`, and the mask of bits."""
    mask = _bits(list(input.shape), p, None)
    return _kept(input, _from_bits(mask, input), p), mask


@chapter.reference(
    "npu::npu_dropout_do_mask", source=code_of("aclops/DropoutKernelNpu.cpp"), seeded=False
)
def dropout_do_mask(input: Tensor, mask: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """`input` where the mask of bits keeps it, made up for the rest, and the mask."""
    return _kept(input, _from_bits(mask, input), p), mask.clone()


@chapter.reference("npu::npu_dropout_backward", source=code_of("aclops/DropoutKernelNpu.cpp"))
def dropout_backward(grad_output: Tensor, mask: Tensor, p: float) -> Tensor:
    """Gradient of the input, with the mask of bits the forward used."""
    return _kept(grad_output, _from_bits(mask, grad_output), p)


# Run again with the mask that was drawn: a new draw would be another function's gradient.
@chapter.gradient("npu::_npu_dropout")
def dropout_gradient(
    arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Gradient of the input alone."""
    (_, p), grad = arguments, grads[0]
    return None if grad is None else dropout_backward(grad, outputs[1], p), None


@chapter.reference(
    "npu::_dropout_with_byte_mask", source=code_of("aclops/DropoutWithByteMaskKernelNpu.cpp")
)
def dropout_with_drawn_byte_mask(input: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """`input` with each element dropped with probability `p`, and the mask, a byte each."""
    require(0 <= p <= 1, f"dropout probability has to be between 0 and 1, but got {p}")
    mask = (torch.rand(input.shape) >= p).to(torch.uint8)
    return _kept(input, mask.bool(), p), mask


@chapter.reference(
    "npu::_dropout_with_byte_mask_backward",
    source=code_of("aclops/DropoutWithByteMaskKernelNpu.cpp"),
)
def dropout_with_byte_mask_backward(grad_output: Tensor, mask: Tensor, p: float) -> Tensor:
    """Gradient of the input, with the mask the forward gave."""
    return _kept(grad_output, mask.bool(), p)


@chapter.gradient("npu::_dropout_with_byte_mask")
def byte_mask_gradient(
    arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Gradient of the input alone."""
    (_, p), grad = arguments, grads[0]
    return None if grad is None else dropout_with_byte_mask_backward(grad, outputs[1], p), None


@chapter.reference(
    "npu::dropout_with_byte_mask", source=code_of("aclops/DropoutWithByteMaskKernelNpu.cpp")
)
def dropout_with_byte_mask(input: Tensor, p: float, train: bool) -> Tensor:
    """`input` with each element dropped with probability `p` in training, else a copy."""
    return dropout_with_drawn_byte_mask(input, p)[0] if train and p > 0 else input.clone()


@chapter.reference(
    "npu::npu_dropout_with_add_softmax", source=code_of("aclops/DropoutWithAddSoftmaxKernelNpu.cpp")
)
def dropout_with_add_softmax(
    input: Tensor, x1: Tensor, alpha: float, prob: float, dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The mask, softmax(x1 + alpha * input) along `dim`, and that with dropout."""
    softmax = torch.softmax(x1.float() + alpha * input.float(), dim)
    mask = torch.zeros(-(-x1.numel() // ALIGNED) * ALIGNED, dtype=torch.uint8)
    mask[: x1.numel()] = (torch.rand(x1.numel()) >= prob).to(torch.uint8)
    kept = mask[: x1.numel()].reshape(x1.shape).bool()
    return mask, softmax.to(x1.dtype), _kept(softmax, kept, prob).to(input.dtype)


@chapter.reference(
    "npu::npu_dropout_with_add_softmax_backward",
    source=code_of("aclops/DropoutWithAddSoftmaxKernelNpu.cpp"),
)
def dropout_with_add_softmax_backward(
    grad: Tensor, mask: Tensor, softmax_out: Tensor, alpha: float, prob: float, dim: int
) -> tuple[Tensor, Tensor]:
    """Gradient of `input`, and in the place of that of `x1` the gradient as it came in."""
    kept = mask[: grad.numel()].reshape(grad.shape).bool()
    softmax = softmax_out.float()
    of_softmax = _kept(grad.float(), kept, prob)
    slope = (of_softmax - (of_softmax * softmax).sum(dim, keepdim=True)) * softmax
    return (alpha * slope).to(softmax_out.dtype), grad.clone()


@chapter.gradient("npu::npu_dropout_with_add_softmax")
def add_softmax_gradient(
    arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """The chip's own backward, of the third result alone."""
    (_, _, alpha, prob, dim), grad = arguments, grads[2]
    if grad is None:
        return (None,) * 5
    found = dropout_with_add_softmax_backward(grad, outputs[0], outputs[1], alpha, prob, dim)
    return (*found, None, None, None)


def _bits(size: list[int], p: float, generator: torch.Generator | None) -> Tensor:
    require(0 <= p <= 1, f"dropout probability has to be between 0 and 1, but got {p}")
    count = torch.Size(size).numel()
    # The bits of the last byte in use are drawn too; the bytes after it are zero.
    drawn = -(-count // 8) * 8
    kept = torch.zeros(-(-count // ALIGNED) * ALIGNED, dtype=torch.int64)
    kept[:drawn] = (torch.rand(drawn, generator=generator) >= p).long()
    return (kept.reshape(-1, 8) << torch.arange(8)).sum(-1).to(torch.uint8)


def _from_bits(mask: Tensor, like: Tensor) -> Tensor:
    kept = (mask.flatten().long().unsqueeze(-1) >> torch.arange(8)) & 1
    return kept.flatten()[: like.numel()].reshape(like.shape).bool()


def _kept(values: Tensor, kept: Tensor, p: float) -> Tensor:
    """`values` where kept, divided by the probability of that; zero elsewhere."""
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return torch.where(kept, values.float() * scale, 0.0).to(values.dtype)
