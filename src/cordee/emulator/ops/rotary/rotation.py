"""The rotation of pairs that every rotary position embedding is made of."""

import torch
from torch import Tensor


def rotate_half(x: Tensor) -> Tensor:
    """(-x2, x1) where x1 and x2 are the halves of the last axis."""
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


def rotate_interleaved(x: Tensor) -> Tensor:
    """(-x1, x0, -x3, x2, ...) along the last axis."""
    return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)


def rotate_quarters(x: Tensor) -> Tensor:
    """(-x2, x1, -x4, x3) where x1 to x4 are the quarters of the last axis."""
    x1, x2, x3, x4 = x.chunk(4, dim=-1)
    return torch.cat((-x2, x1, -x4, x3), dim=-1)


ROTATIONS = {
    "half": rotate_half,
    "interleave": rotate_interleaved,
    "quarter": rotate_quarters,
}


def embedded(x: Tensor, cos: Tensor, sin: Tensor, mode: str = "half") -> Tensor:
    """`x` rotated, in float32: x * cos + rotate(x) * sin. Axes of `cos` and `sin` broadcast."""
    x = x.float()
    return x * cos.float() + ROTATIONS[mode](x) * sin.float()


def halves_first(x: Tensor) -> Tensor:
    """The last axis reordered from pairs (x0, x1), (x2, x3), ... to (x0, x2, ..., x1, x3, ...)."""
    return torch.cat((x[..., ::2], x[..., 1::2]), dim=-1)
