"""The backward of npu_fusion_attention and its later versions."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.attention import dropout, fusion_operators  # noqa: F401 - declares the forward
from cordee.emulator.ops.attention.dense import Attended
from cordee.emulator.ops.attention.fusion import Fusion, backward, loaded, weights_count
from cordee.emulator.ops.attention.fusion_arguments import Arguments, chapter, read, version
from cordee.emulator.ops.attention.layouts import from_bnsd, to_bnsd
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.schema import argument_names

# Gradients of query, key, value, pse (None without) and sink (empty without).
Gradients = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]


@version("npu::npu_fusion_attention_grad")
def fusion_attention_grad(told: Arguments) -> Gradients:
    """Gradients of npu_fusion_attention."""
    found = _gradients(told)
    return found["query"], found["key"], found["value"], found.get("pse"), _of_sink(found)


@version("npu::npu_fusion_attention_grad_v2")
def fusion_attention_grad_v2(
    told: Arguments,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor]:
    """Gradients of npu_fusion_attention_v2; those of the rotary parts come before the sink's."""
    found = _gradients(told)
    ropes = found.get("query_rope"), found.get("key_rope")
    return found["query"], found["key"], found["value"], found.get("pse"), *ropes, _of_sink(found)


@version("npu::npu_fusion_attention_grad_v3")
def fusion_attention_grad_v3(told: Arguments) -> Gradients:
    """Gradients of npu_fusion_attention_v3."""
    found = _gradients(told)
    return found["query"], found["key"], found["value"], found.get("pse"), _of_sink(found)


def _of_sink(found: dict[str, Tensor]) -> Tensor:
    return found.get("sink", torch.empty(0))


def _gradients(told: Arguments) -> dict[str, Tensor]:
    """The gradient of each argument that has one."""
    fusion = told.fusion()
    of = told.views(fusion)
    if fusion.keep_prob < 1:
        count = weights_count(fusion, of)
        bits = dropout.generated_bits(told.query, fusion.keep_prob, *told.generator, count)
        fusion = replace(fusion, bits=bits)
    grad, attended = _attended(fusion, told)
    found = backward(fusion, of, grad, attended)
    grads = {"value": from_bnsd(found.value, fusion.layout).to(told.value.dtype)}
    for name, side, tensor, rope in (
        ("query", found.query, told.query, told.query_rope),
        ("key", found.key, told.key, told.key_rope),
    ):
        whole = from_bnsd(side, fusion.layout).to(tensor.dtype)
        grads[name] = whole[..., : tensor.shape[-1]].contiguous()
        if rope is not None:
            grads[f"{name}_rope"] = whole[..., tensor.shape[-1] :].contiguous()
    if found.pse is not None and told.pse is not None:
        grads["pse"] = found.pse.to(told.pse.dtype)
    if found.sink is not None:
        grads["sink"] = found.sink
    return grads


def _attended(fusion: Fusion, told: Arguments) -> tuple[Tensor, Attended]:
    """The gradient of the attention [B, N, S, Dv], and what the forward left for the backward."""
    grad, out, maximum, total = told.dy, told.attention_in, told.softmax_max, told.softmax_sum
    require(
        maximum is not None and total is not None and out is not None,
        "softmax_max, softmax_sum and attention_in are needed for the gradients",
    )
    assert grad is not None
    assert out is not None
    assert maximum is not None
    assert total is not None
    grad, out = (to_bnsd(side, fusion.layout, fusion.heads) for side in (grad, out))
    return grad, Attended(out, loaded(fusion, maximum), loaded(fusion, total))


def _declare(operator: str) -> None:
    """Declare the gradients above what autograd runs for `operator`, as the adapter's derivatives do.

    Only the attention itself carries a gradient back; its statistics do not.
    """

    @chapter.gradient(operator)
    def gradient(
        arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        if grads[0] is None:
            return (None,) * len(arguments)
        out, maximum, total, _, seed, offset = outputs[:6]
        told = replace(
            read(operator, arguments, {}),
            dy=grads[0],
            attention_in=out,
            softmax_max=maximum,
            softmax_sum=total,
            seed=seed,
            offset=offset,
        )
        found = _gradients(told)
        return tuple(found.get(name) for name in argument_names(operator))


_declare("npu::npu_fusion_attention")
_declare("npu::npu_fusion_attention_v2")
_declare("npu::npu_fusion_attention_v3")
