"""What becomes of an operator on a real chip, read from the adapter's own registrations."""

from functools import cache

import torch

from cordee.emulator.ops.ways import device_ways, registered
from cordee.emulator.trace.records import Support

COLLECTIVES = "c10d::"


def native_operators() -> frozenset[str]:
    """What the adapter has kernels for. Ask before the virtual chip puts its own in their place."""
    return frozenset(registered("PrivateUse1"))


def support(operator: str, native: frozenset[str]) -> Support:
    """What becomes of `operator`, given what the adapter has kernels for."""
    if operator.startswith(COLLECTIVES):
        return Support.COLLECTIVE
    if operator in native:
        return Support.NATIVE
    if torch._C._dispatch_has_kernel_for_dispatch_key(operator, "PrivateUse1"):
        return Support.STAND_IN
    # The adapter's kernel for "everything else" calls the CPU's:
    # github.com/Ascend/pytorch torch_npu/csrc/aten/VariableFallbackKernel.cpp
    on_host = torch._C._dispatch_has_computed_kernel_for_dispatch_key(operator, "CPU")
    return Support.HOST if on_host else Support.MISSING


@cache
def not_emulated() -> frozenset[str]:
    """The adapter's operators that the virtual chip refuses by name."""
    return frozenset(name for name, way in device_ways() if way == "missing")
