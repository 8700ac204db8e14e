"""torch.compile on the virtual chip: programs are traced as on hardware, and then run eagerly.

The compilers for Ascend (Triton-Ascend under inductor, torchair, graph capture) generate code for
the chip, which there is nothing here to run on. Dynamo and AOT autograd, which decide whether a
program can be compiled at all, are PyTorch's own.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

Compiled = Callable[..., Any]

LOG = logging.getLogger("cordee")

_announced: set[str] = set()  # notices are given once a process


def install() -> None:
    """Let every compiler for Ascend run eagerly; other devices keep theirs.

    PyTorch's part of torch.compile is loaded when a program first compiles, not here.
    """
    from torch_npu import dynamo as adapter

    # "npu" is looked up here first, before torchair is loaded.
    adapter._global_npu_backend["npu"] = _Eager("npu")
    adapter._exec = _Eager("npugraph_ex")
    # PyTorch loads this one by its entry point, that is, by this name.
    adapter._npugraphs_backend_entrypoint = _Eager("npugraphs")
    inductor = torch._TorchCompileInductorWrapper
    compile_for_host = inductor.__call__

    def compile_by_device(self: Any, model: GraphModule, inputs: list[Tensor], **more: Any) -> Any:
        if _uses_chip(model, inputs):
            return _Eager("inductor")(model, inputs)
        return compile_for_host(self, model, inputs, **more)  # type: ignore[no-untyped-call]

    inductor.__call__ = compile_by_device  # type: ignore[method-assign, assignment]


class _Eager:
    """A backend of torch.compile that runs what it is given operator by operator."""

    def __init__(self, name: str) -> None:
        self.compiler_name = name

    def __call__(self, model: GraphModule, inputs: Sequence[Tensor], **_: object) -> Compiled:
        if self.compiler_name not in _announced:
            _announced.add(self.compiler_name)
            LOG.warning(
                'torch.compile: the virtual chip runs what backend "%s" compiles operator by '
                "operator (aot_eager). Results are those of the program; kernel fusion, code "
                "generation and graph capture are not tried.",
                self.compiler_name,
            )
        from torch._dynamo.backends.registry import lookup_backend

        return lookup_backend("aot_eager")(model, list(inputs))

    @staticmethod
    def reset() -> None:
        """Nothing is kept from one compilation to the next."""


def _uses_chip(model: GraphModule, inputs: Sequence[Tensor]) -> bool:
    return any(tensor.device.type == "npu" for tensor in _tensors(model, inputs))


def _tensors(model: GraphModule, inputs: Sequence[Tensor]) -> Iterator[Tensor]:
    yield from (value for value in inputs if isinstance(value, Tensor))  # type: ignore[redundant-expr]
    # A graph without inputs may still make its tensors on a chip.
    yield from (
        value
        for node in model.graph.nodes
        if isinstance(value := node.meta.get("example_value"), Tensor)
    )
