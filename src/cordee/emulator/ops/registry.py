"""Puts the virtual chip's kernels where the adapter's would launch work."""

from dataclasses import asdict
from types import FunctionType, ModuleType
from typing import cast

import torch
from torch._C._dynamo import eval_frame

from cordee.emulator.ops import chapters, dtypes  # noqa: F401 - chapters declares the references
from cordee.emulator.ops.autograd import differentiable
from cordee.emulator.ops.reference import REFERENCES
from cordee.emulator.ops.schema import operator
from cordee.emulator.ops.ways import FACTORIES, device_ways, registered

# Where references are kept in PyTorch's dispatcher: a key that no tensor has (see kernel.cpp).
REFERENCE_KEY = "PrivateUse3"

# Composed by PyTorch above the device, and by the adapter on it; without gradients.
DIRECT = {"aten::one_hot"}

_libraries: list[torch.library.Library] = []  # a registration ends with its library


def register(kernel: ModuleType) -> None:
    """Take over every operator of the adapter, with `kernel` the compiled module."""
    kernel.install_allocator()
    for name, reference in REFERENCES.items():
        _implement(name, reference.function, REFERENCE_KEY)
    own_gradients = registered("AutogradPrivateUse1")
    ways = dict(device_ways())
    taken_over = {name for name in own_gradients & ways.keys() if name.startswith("npu::")}
    for name, way in ways.items():
        key = "BackendSelect" if name in FACTORIES else "PrivateUse1"
        seeded = _is_seeded(name)
        kernel.take_over(name, way, **asdict(dtypes.rules(name)), seeded=seeded, key=key)
        if way == "format" or name in taken_over:
            _take_over_gradient(name, way, kernel)
    kept = registered("PrivateUse1") - ways.keys()
    for name in own_gradients - kept - taken_over:
        if name in DIRECT:
            _implement(name, torch.library.fallthrough_kernel, "AutogradPrivateUse1")
        elif name in REFERENCES and REFERENCES[name].gradient:
            _take_over_gradient(name, "host", kernel)
        elif name.startswith("aten::"):
            way = "attention" if name == "aten::scaled_dot_product_attention" else "forward"
            kernel.take_over_autograd(name, way)


def _take_over_gradient(name: str, way: str, kernel: ModuleType) -> None:
    if way == "format":  # made of operators that autograd knows
        _implement(name, torch.library.fallthrough_kernel, "AutogradPrivateUse1")
    elif name in REFERENCES:
        function = differentiable(REFERENCES[name], operator(name), kernel)
        _implement(name, function, "AutogradPrivateUse1", with_keys=True)
    else:
        kernel.take_over_autograd(name, way)


def _is_seeded(name: str) -> bool:
    """Whether the host's generator stands for the device's while the operator runs."""
    reference = REFERENCES.get(name)
    if reference is not None and reference.seeded is not None:
        return reference.seeded
    return torch.Tag.nondeterministic_seeded in operator(name).tags


def _implement(name: str, function: object, key: str, *, with_keys: bool = False) -> None:
    namespace, _, rest = name.partition("::")
    library = torch.library.Library(namespace, "IMPL")
    library.impl(rest, function, key, with_keyset=with_keys, allow_override=True)
    _libraries.append(library)
    # What the chip computes is not the program's: torch.compile is to pass over it, where it
    # leaves the program's code to run and would take up what that calls.
    skip = eval_frame._FrameAction.SKIP
    strategy = eval_frame._FrameExecStrategy(skip, skip)  # of the function, of what it calls
    eval_frame.set_code_exec_strategy(cast(FunctionType, function).__code__, strategy)
