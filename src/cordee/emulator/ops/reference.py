"""How an operator's reference maths is declared, and where the emulator finds it.

A reference is a plain Python function over CPU tensors. The emulator hands it views of device
memory and turns what it returns into device tensors; dtype rules, memory and streams are none
of its business.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.schema import named

# A reference takes the operator's arguments as its schema names them.
Function = Callable[..., Any]

REFERENCES: dict[str, "Reference"] = {}


@dataclass(frozen=True, slots=True)
class Reference:
    """The maths of one operator overload, and where that maths is written down."""

    name: str  # "npu::npu_rms_norm", or with its overload "npu::npu_max.dim"
    source: str
    function: Function
    gradient: Function | None = None
    seeded: bool | None = None
    """Whether it draws from PyTorch's generator on the host, which is to be seeded from the device's
    before; None: if PyTorch's tag says that the operator draws."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """Operators that the vendor's documents describe together."""

    source: str
    gradients: dict[str, Function] = field(default_factory=dict)

    def reference(
        self, *names: str, source: str = "", seeded: bool | None = None
    ) -> Callable[[Function], Function]:
        """Declare the reference of the operators `names`, given as "npu::name.overload"."""

        def register(function: Function) -> Function:
            for name in names:
                assert name not in REFERENCES, f"{name} has two references"
                REFERENCES[name] = Reference(name, source or self.source, function, seeded=seeded)
            return function

        return register

    def pure(self, name: str, of: Function, *written: str, source: str = "") -> None:
        """Declare `name`: what `of` does, to copies of the arguments that it writes."""
        self.reference(name, source=source)(_on_copies(name, of, written))

    def gradient(self, name: str) -> Callable[[Function], Function]:
        """Declare the backward of `name`, where rerunning its reference is not enough.

        Called with `(arguments, outputs, grads)`: the operator's arguments as a tuple in schema
        order, what its reference returned, and one gradient or None per output. Gives one
        gradient or None per argument. Without it, autograd differentiates the reference.
        """

        def register(function: Function) -> Function:
            old = REFERENCES[name]
            REFERENCES[name] = replace(old, gradient=function)
            return function

        return register


def _on_copies(name: str, of: Function, written: tuple[str, ...]) -> Function:
    """Gives what `of` gives and, where they are not among that, copies of the arguments `written` as it leaves them."""

    @wraps(of)
    def pure(*values: Any, **keywords: Any) -> Any:
        given = named(name, values, keywords)
        copies = {argument: _copy(given[argument]) for argument in written}
        result = of(**{**given, **copies})
        found = result if isinstance(result, tuple) else () if result is None else (result,)
        found += tuple(copy for copy in copies.values() if all(copy is not x for x in found))
        return found[0] if len(found) == 1 else found

    return pure


def _copy(value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return [x.clone() for x in value] if isinstance(value, list) else value.clone()


def vjp(
    function: Function, inputs: tuple[Tensor, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Gradients of `function(*inputs)` for `inputs`, given one gradient or None per output."""
    # A program's inference mode would keep the graph from being recorded.
    with torch.inference_mode(False), torch.enable_grad():
        leaves = tuple(_plain(x).requires_grad_(x.is_floating_point()) for x in inputs)
        outputs = function(*leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [
            (y, _plain(g))
            for y, g in zip(outputs, grads, strict=True)
            if g is not None and y.requires_grad
        ]
        wanted = [x for x in leaves if x.requires_grad]
        found = iter(
            torch.autograd.grad(
                [y for y, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True
            )
        )
    return tuple(next(found) if x.requires_grad else None for x in leaves)


def _plain(x: Tensor) -> Tensor:
    """`x` apart from any graph, and not of inference mode, whose tensors no graph may keep."""
    return x.clone() if x.is_inference() else x.detach()
