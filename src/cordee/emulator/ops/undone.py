"""Products that are left out, so that a large program can be traced: their results are zeros of the right shape."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from cordee.emulator.ops.reference import REFERENCES, Reference
from cordee.emulator.ops.schema import operator

VARIABLE = "CORDEE_SHAPES"
"""In the environment of a run that leaves them out."""
SOURCE = "nothing is computed"
PRODUCTS = (
    "aten::mm",
    "aten::bmm",
    "aten::addmm",
    "aten::baddbmm",
    "aten::addbmm",
    "aten::convolution_overrideable",
    "aten::convolution_backward_overrideable",
    "aten::_grouped_mm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
)
WRITTEN = (
    "aten::mm.out",
    "aten::bmm.out",
    "aten::addmm.out",
    "aten::baddbmm.out",
    "aten::addbmm.out",
)
"""Their results are there before."""


def leave_out() -> None:
    """Take the place of their references; before operators are registered."""
    for name in PRODUCTS:
        REFERENCES[name] = Reference(name, SOURCE, _zeros(name))
    for name in WRITTEN:
        REFERENCES[name] = Reference(name, SOURCE, _written)


def _zeros(name: str) -> Callable[..., Any]:
    """Gives what the operator would, of zeros; PyTorch says in what shape."""
    of = operator(name)

    def function(*values: Any, **named: Any) -> Any:
        shaped, by_name = tree_map_only(Tensor, _shape, (values, named))
        return tree_map_only(Tensor, _like, of(*shaped, **by_name))

    return function


def _shape(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _like(x: Tensor) -> Tensor:
    return torch.zeros(x.shape, dtype=x.dtype)


def _written(*_: Any, out: Tensor, **__: Any) -> Tensor:
    return out.zero_()
