"""Turns the current process into one that runs on the virtual chip."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

# The libraries of the runtime, those that others need first.
LIBRARIES = (
    "libascendcl.so",
    "libacl_op_compiler.so",
    "libopapi.so",
    "libge_runner.so",
    "libgraph.so",
    "libacl_tdt_channel.so",
    "libhccl.so",
    "libhcomm.so",
    "libatb.so",
    "libascend_hal.so",
    "libmsprofiler.so",
)

_kernel: ModuleType | None = None


def autoload() -> None:
    """Entry point of PyTorch's `torch.backends` group: every process that imports torch calls it.

    Does nothing unless `cordee run`, or the user, has asked for something in the environment.
    """
    if "CORDEE_MACHINE" in os.environ or "CORDEE_CHIP" in os.environ:
        start()
    if os.environ.get("CORDEE_FROM_CUDA"):  # on real chips too
        from torch_npu.contrib import transfer_to_npu  # noqa: F401


def start() -> ModuleType:
    """Load the emulated runtime, the real torch_npu and the kernels of the virtual chip.

    Gives the compiled kernel module; the second call of a process gives the same one.
    """
    global _kernel
    if _kernel is not None:
        return _kernel
    from cordee.emulator import build
    from cordee.emulator.faults import steps

    libraries = build.libraries()
    if "torch_npu" not in sys.modules:
        _preload(libraries)
    import torch_npu  # noqa: F401

    _kernel = _load(libraries / "_kernel.so")
    _take_over(_kernel)
    steps.count()
    return _kernel


def _take_over(kernel: ModuleType) -> None:
    from cordee.emulator import compilation
    from cordee.emulator.ops import registry, undone, ways
    from cordee.emulator.trace.options import Options

    options = Options.from_environment(os.environ)
    # What is registered before ours is the adapter's.
    native = frozenset(ways.registered("PrivateUse1")) if options else frozenset()
    if os.environ.get(undone.VARIABLE):
        undone.leave_out()
    registry.register(kernel)
    compilation.install()
    if options:
        from cordee.emulator.trace import session as tracing

        tracing.begin(kernel, options, native)


def _preload(libraries: Path) -> None:
    # The loader takes a library that is there already, so torch_npu needs no search path.
    for name in LIBRARIES:
        ctypes.CDLL(str(libraries / name), mode=ctypes.RTLD_GLOBAL)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_kernel", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
