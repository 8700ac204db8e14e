"""Which nn.Module runs, by the names that its outermost module gives it."""

import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


class Modules(threading.local):
    """The modules whose forward runs in the asking thread."""

    def __init__(self, names: "Names", parameters: "Parameters") -> None:
        self._names = names
        self._parameters = parameters
        self._running: list[tuple[nn.Module, str]] = []

    @property
    def name(self) -> str:
        """Of the innermost one: "GPT.h.0.attn"; empty outside of any."""
        return self._running[-1][1] if self._running else ""

    def watch(self) -> None:
        """Follow every module of the process from now on."""
        register_module_forward_pre_hook(self._enter)
        register_module_forward_hook(self._leave, always_call=True)
        # PyTorch warns of hooks that do not know what it compiles; these do.
        warnings.filterwarnings("ignore", "Using `torch.compile.* global hooks on modules")

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if torch.compiler.is_compiling() or isinstance(module, GraphModule):
            return  # what is compiled runs without its modules
        name = self._names.name(module, self.name)
        self._parameters.meet(module, name)
        self._running.append((module, name))

    def _leave(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        if torch.compiler.is_compiling() or isinstance(module, GraphModule):
            return
        while self._running and self._running.pop()[0] is not module:
            pass  # those inside it left by an exception


class Names:
    """Every module's class and path, counted from the outermost module it was called in."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[nn.Module], str]] = {}

    def name(self, module: nn.Module, outer: str) -> str:
        """The name of `module`, called inside the module named `outer`."""
        module = getattr(module, "_orig_mod", module)  # what torch.compile was given
        known = self._known.get(id(module))
        if known is not None and known[0]() is module:
            return known[1]
        kind = type(module).__name__
        name = f"{outer}/{kind}" if outer else kind  # outer does not hold it as a child
        for path, child in module.named_modules():
            child_name = f"{name}.{path}" if path else name
            self._known[id(child)] = (weakref.ref(child), child_name)
        return name


class Parameters:
    """Tells of a module that has parameters of its own, when its forward first runs."""

    def __init__(self, tell: Callable[[dict[str, object]], None]) -> None:
        self._tell = tell
        self._met: set[str] = set()
        self._counted: set[int] = set()

    def meet(self, module: nn.Module, name: str) -> None:
        """The forward of `module` begins; a parameter that two of them share counts for the first."""
        if name in self._met:
            return
        self._met.add(name)
        own = [one for one in module.parameters(recurse=False) if id(one) not in self._counted]
        if not own:
            return
        self._counted.update(map(id, own))
        trained = [one for one in own if one.requires_grad]
        self._tell(
            {
                "parameters": name,
                "count": sum(one.numel() for one in own),
                "bytes": sum(one.numel() * one.element_size() for one in own),
                "trained": sum(one.numel() for one in trained),
                "trained_bytes": sum(one.numel() * one.element_size() for one in trained),
            }
        )
