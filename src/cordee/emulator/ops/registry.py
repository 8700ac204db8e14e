"""Puts the virtual chip's kernels where the adapter's would launch work."""

from types import FunctionType, ModuleType
from typing import cast

import torch
from torch._C._dynamo import eval_frame

from cordee.emulator.ops import chapters  # noqa: F401 - declares the references
from cordee.emulator.ops.autograd import differentiable
from cordee.emulator.ops.reference import REFERENCES
from cordee.emulator.ops.refusals import refusal
from cordee.emulator.ops.ways import (
    HalfPrecision,
    device_ways,
    half_precision,
    operator,
    registered,
)

# Where references are kept in PyTorch's dispatcher: a key that no tensor has (see kernel.cpp).
REFERENCE_KEY = "PrivateUse3"

_libraries: list[torch.library.Library] = []  # a registration ends with its library


def register(kernel: ModuleType) -> None:
    """Take over every operator of the adapter, with `kernel` the compiled module."""
    kernel.install_allocator()
    for name, reference in REFERENCES.items():
        _implement(name, reference.function, REFERENCE_KEY)
    own_gradients = registered("AutogradPrivateUse1")
    ways = dict(device_ways())
    half = half_precision(ways)
    for name, way in ways.items():
        kernel.take_over(name, way, **_rules(name, half.get(name)))
        if name in own_gradients and name.startswith("npu::"):
            _take_over_gradient(name, way, kernel)
    kept = registered("PrivateUse1") - ways.keys()
    for name in own_gradients - kept:
        if name.startswith("aten::"):
            way = "attention" if name == "aten::scaled_dot_product_attention" else "forward"
            kernel.take_over_autograd(name, way)


def _rules(name: str, half: HalfPrecision | None) -> dict[str, object]:
    """How the chip differs from the CPU in the dtypes of an operator: see ../kernel/kernel.h."""
    refused = refusal(name)
    return {
        "refused_dtypes": refused.dtypes,
        "why": refused.why,
        "in_float": [getattr(torch, dtype) for dtype in half.dtypes] if half else [],
        "float_results": sum(1 << position for position in half.float_results) if half else 0,
    }


def _take_over_gradient(name: str, way: str, kernel: ModuleType) -> None:
    if name in REFERENCES:
        function = differentiable(REFERENCES[name], operator(name), kernel)
        _implement(name, function, "AutogradPrivateUse1")
    else:
        kernel.take_over_autograd(name, way)


def _implement(name: str, function: object, key: str) -> None:
    namespace, _, rest = name.partition("::")
    library = torch.library.Library(namespace, "IMPL")
    library.impl(rest, function, key, allow_override=True)
    _libraries.append(library)
    # What the chip computes is not the program's: torch.compile is to pass over it, where it
    # leaves the program's code to run and would take up what that calls.
    skip = eval_frame._FrameAction.SKIP
    strategy = eval_frame._FrameExecStrategy(skip, skip)  # of the function, of what it calls
    eval_frame.set_code_exec_strategy(cast(FunctionType, function).__code__, strategy)
