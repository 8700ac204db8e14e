"""Arguments for operators that are called by name."""

from typing import Any

import torch
from torch import Tensor

Call = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments, on the CPU

_GENERATOR = torch.Generator().manual_seed(0)


def call(*args: object, **kwargs: object) -> Call:
    return args, kwargs


def same(names: str, *args: object, **kwargs: object) -> dict[str, Call]:
    """The operators `names` with the same arguments."""
    return dict.fromkeys(names.split(), call(*args, **kwargs))


def real(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=_GENERATOR).to(dtype)


def whole(*shape: int, high: int = 5) -> Tensor:
    return torch.randint(high, shape, generator=_GENERATOR)


def reals(count: int = 2, *shape: int) -> list[Tensor]:
    return [real(*(shape or (2, 3))) for _ in range(count)]


def bools(*shape: int) -> Tensor:
    return whole(*shape, high=2).bool()


def out(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype)
