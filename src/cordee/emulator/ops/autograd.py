"""Gradients of npu operators: their references differentiated on the host."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Reference, vjp


def differentiable(
    reference: Reference, operator: torch._ops.OpOverload, kernel: ModuleType
) -> Callable[..., Any]:
    """An implementation of `operator` for the autograd key of the device, in place of the adapter's.

    It is called with the keys of the dispatch before the operator's arguments.
    """
    schema = operator._schema
    adapters = torch.library.get_kernel(operator, "AutogradPrivateUse1")
    positional = [a.name for a in schema.arguments if not a.kwarg_only]
    keywords = [a.name for a in schema.arguments if a.kwarg_only]
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}

    class Differentiated(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            named = dict(zip(positional + keywords, arguments, strict=True))
            with torch._C._AutoDispatchBelowAutograd():
                outputs = operator(
                    *(named[name] for name in positional),
                    **{name: named[name] for name in keywords},
                )
            if schema.is_mutable:
                ctx.mark_dirty(arguments[0])
            every = outputs if isinstance(outputs, tuple) else (outputs,)
            ctx.mark_non_differentiable(
                *(y for y in every if isinstance(y, Tensor) and not y.is_floating_point())
            )
            ctx.set_materialize_grads(False)
            ctx.device = next(a.device for a in arguments if isinstance(a, Tensor))
            # Autograd differentiates a rerun: it needs no outputs, which may be changed in place.
            ctx.saved = _Saved(ctx, arguments, every if reference.gradient else ())
            return outputs

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
            arguments, outputs = ctx.saved.on_host(ctx, kernel)
            host_grads = tuple(None if g is None else g.cpu() for g in grads)
            gradient = reference.gradient or _rerun(reference.function, positional, keywords)
            found = gradient(arguments, outputs, host_grads)
            return tuple(
                x.to(ctx.device) if isinstance(x, Tensor) and wanted else None
                for x, wanted in zip(found, ctx.needs_input_grad, strict=True)
            )

    def run(keys: torch._C.DispatchKeySet, *args: Any, **kwargs: Any) -> Any:
        if any(map(_stands_for_others, (*args, *kwargs.values()))):
            return adapters.call_boxed(keys, *args, **kwargs)
        if not torch.is_grad_enabled():
            with torch._C._AutoDispatchBelowAutograd():
                return operator(*args, **kwargs)
        named = defaults | dict(zip(positional, args, strict=False)) | kwargs
        return Differentiated.apply(*(named[name] for name in positional + keywords))  # type: ignore[no-untyped-call]

    return run


def _stands_for_others(argument: Any) -> bool:
    """Whether it is or holds a tensor such as a DTensor, which says itself what an operator does.

    The host cannot look into one. The adapter's kernel asks it for the gradient operator too.
    """
    if isinstance(argument, list | tuple):
        return any(_stands_for_others(one) for one in argument)
    if not isinstance(argument, Tensor):
        return False
    return torch._C._dispatch_keys(argument).has(torch._C.DispatchKey.Python)


class _Saved:
    """Arguments and outputs between forward and backward, tensors kept as autograd wants them."""

    def __init__(self, ctx: Any, arguments: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
        self.arguments = [None if isinstance(a, Tensor) else a for a in arguments]
        self.outputs = [None if isinstance(a, Tensor) else a for a in outputs]
        self.places = [
            (values, i)
            for values, given in ((self.arguments, arguments), (self.outputs, outputs))
            for i, value in enumerate(given)
            if isinstance(value, Tensor)
        ]
        ctx.save_for_backward(*(x for x in (*arguments, *outputs) if isinstance(x, Tensor)))

    def on_host(self, ctx: Any, kernel: ModuleType) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        for (values, i), tensor in zip(self.places, ctx.saved_tensors, strict=True):
            values[i] = kernel.host_view(tensor.detach()) if tensor.device.type == "npu" else tensor
        arguments, outputs = tuple(self.arguments), tuple(self.outputs)
        for values, i in self.places:
            values[i] = None  # views of device memory must not outlive the backward
        return arguments, outputs


def _rerun(
    function: Callable[..., Any], positional: list[str], keywords: list[str]
) -> Callable[..., Any]:
    def gradient(
        arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor)]

        def of_tensors(*tensors: Tensor) -> Any:
            values = list(arguments)
            for i, tensor in zip(places, tensors, strict=True):
                values[i] = tensor
            n = len(positional)
            return function(*values[:n], **dict(zip(keywords, values[n:], strict=True)))

        found = vjp(of_tensors, tuple(arguments[i] for i in places), grads)
        result: list[Tensor | None] = [None] * len(arguments)
        for i, grad in zip(places, found, strict=True):
            result[i] = grad
        return tuple(result)

    return gradient
