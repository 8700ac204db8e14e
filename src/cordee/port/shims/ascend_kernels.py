"""Extensions that are compiled for NVIDIA's chips: themselves there, and a stand-in elsewhere.

`load` and `load_inline` are PyTorch's own where it can compile for a GPU. Elsewhere an extension is
computed in PyTorch if one of `FORMULAS` knows it, and else each of its functions says, when it is
called, what is missing and what to do. Written by
`cordee port`; it needs nothing of Cordée but the modules beside it.
"""

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any, NoReturn

import torch

VENDOR = "CUDA"
CHIP = VENDOR.lower()  # as PyTorch calls it
BUILDER = "torch.utils.cpp_extension"
FORMULAS = ("ascend_formulas", "ascend_sequences")
KERNEL = (".cu", ".cuh", ".hip")  # how sources end that only a GPU's compiler takes
PASSED = ("BuildExtension", "CppExtension", f"{VENDOR}Extension", f"{VENDOR}_HOME", "ROCM_HOME")
WAY_OUT = (
    "write it with operations of PyTorch, in Triton for triton-ascend, or in Ascend C as an "
    "operator that torch_npu loads"
)


class Missing:
    """A function, class or value of an extension that is not there."""

    def __init__(self, kernel: str, extension: str, sources: Sequence[str]) -> None:
        self.__name__ = kernel
        self._extension = extension
        self._sources = tuple(sources)

    def __call__(self, *arguments: Any, **named: Any) -> NoReturn:
        made = f" (compiled from {', '.join(self._sources)})" if self._sources else ""
        raise NotImplementedError(
            f"{self.__name__} of the extension {self._extension}{made} is a kernel for NVIDIA's "
            f"chips, and this machine cannot run it: {WAY_OUT}"
        )

    def __getattr__(self, name: str) -> "Missing":
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.__name__}.{name}", self._extension, self._sources)


class StandIn(ModuleType):
    """An extension in PyTorch, as far as it is known how; what is not, is `Missing`."""

    def __init__(self, name: str, sources: Sequence[str] = ()) -> None:
        super().__init__(name, f"Stands for the extension {name}, which is compiled for CUDA.")
        self._sources = tuple(str(source) for source in sources)
        self.__dict__.update(formulas(name))

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(name, self.__name__, self._sources)


def load(name: str, sources: str | list[str], *arguments: Any, **named: Any) -> Any:
    """As PyTorch's own; where a GPU's compiler is needed and missing, what stands for it."""
    files = [sources] if isinstance(sources, str) else list(sources)
    if compiles() or not (named.get("with_cuda") or _kernels(files)):
        return _builder().load(name, sources, *arguments, **named)
    return _registered(name, files, named)


def load_inline(
    name: str,
    cpp_sources: Any,
    cuda_sources: Any = None,
    *arguments: Any,
    **named: Any,
) -> Any:
    """As PyTorch's own; where a GPU's compiler is needed and missing, what stands for it."""
    if compiles() or not (cuda_sources or named.get("with_cuda")):
        return _builder().load_inline(name, cpp_sources, cuda_sources, *arguments, **named)
    return _registered(name, (), named)


def extension(name: str) -> Any:
    """The module that was compiled under this name, or what stands for it.

    Where a GPU is served a missing module is an ImportError, as ever.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        if compiles() or served():
            raise
    return _registered(name, (), {})


def formulas(name: str) -> dict[str, Callable[..., Any]]:
    """The functions of an extension that can be computed in PyTorch, by name."""
    found: dict[str, Callable[..., Any]] = {}
    last = name.rpartition(".")[2]
    for module in FORMULAS:
        beside = importlib.import_module(f"{__package__}.{module}" if __package__ else module)
        found.update(beside.EVERYWHERE)
        for pattern, known in beside.EXTENSIONS.items():
            if re.fullmatch(pattern, last):
                found.update(known)
    return found


@lru_cache
def compiles() -> bool:
    """Whether PyTorch is made for a GPU here, and its compiler is there, or at least the GPU."""
    if getattr(torch.version, "hip", None):
        return True
    if getattr(torch.version, CHIP) is None:
        return False
    return _own(f"{VENDOR}_HOME") is not None or served()


def served() -> bool:
    """Whether a GPU of NVIDIA or AMD is there."""
    made = getattr(torch.version, CHIP) or getattr(torch.version, "hip", None)
    return bool(made) and bool(getattr(torch, CHIP).is_available())


def _kernels(sources: Sequence[Any]) -> bool:
    return any(str(source).endswith(KERNEL) for source in sources)


def _registered(name: str, sources: Sequence[Any], named: dict[str, Any]) -> Any:
    """A stand-in that can be found as what it stands for: by an import, or in torch.ops."""
    stand_in = StandIn(name, [str(source) for source in sources])
    if not named.get("is_python_module", True):
        setattr(torch.ops, name, stand_in)
        return None
    if "." not in name:
        sys.modules.setdefault(name, stand_in)
    return stand_in


def _builder() -> Any:
    return importlib.import_module(BUILDER)


def _own(name: str) -> Any:
    return getattr(_builder(), name)


def __getattr__(name: str) -> Any:
    """Other names of PyTorch's builder, and extensions: `from ascend_kernels import wkv_cuda`."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name in PASSED:
        return _own(name)
    return extension(name)
