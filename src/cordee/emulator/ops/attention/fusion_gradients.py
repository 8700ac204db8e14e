"""The backward of npu_fusion_attention and its later versions."""

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cordee.emulator.ops.attention import dropout
from cordee.emulator.ops.attention.dense import Attended
from cordee.emulator.ops.attention.fusion import Fusion, backward, loaded, views, weights_count
from cordee.emulator.ops.attention.fusion_operators import (
    chapter,
    ends,
    first,
    fusion_attention,
    fusion_attention_v2,
    fusion_attention_v3,
    joined,
    visibility,
)
from cordee.emulator.ops.attention.layouts import from_bnsd, to_bnsd
from cordee.emulator.ops.attention.masks import EVERY_TOKEN
from cordee.emulator.ops.attention.position import PseType
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require

# Gradients of query, key, value, pse (None without) and sink (empty without).
Gradients = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]


class Saved(NamedTuple):
    """What the forward left for the backward."""

    maximum: Tensor | None
    total: Tensor | None
    out: Tensor | None


@chapter.reference("npu::npu_fusion_attention_grad")
def fusion_attention_grad(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dy: Tensor,
    head_num: int,
    input_layout: str,
    pse: Tensor | None = None,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    softmax_max: Tensor | None = None,
    softmax_sum: Tensor | None = None,
    softmax_in: Tensor | None = None,
    attention_in: Tensor | None = None,
    scale_value: float = 1.0,
    keep_prob: float = 1.0,
    pre_tockens: int = EVERY_TOKEN,
    next_tockens: int = EVERY_TOKEN,
    inner_precise: int = 0,
    seed: int = 0,
    offset: int = 0,
    numels: int = 0,
    prefix: list[int] | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_kvlen: list[int] | None = None,
    sparse_mode: int = 0,
    gen_mask_parallel: bool = True,
    sync: bool = False,
    softmax_layout: str = "",
    sink: Tensor | None = None,
) -> Gradients:
    """Gradients of npu_fusion_attention."""
    refuse("npu_fusion_attention_grad", padding_mask=padding_mask)
    fusion = Fusion(
        heads=head_num,
        layout=input_layout.upper(),
        scale=scale_value,
        visibility=visibility(atten_mask, sparse_mode, pre_tockens, next_tockens, prefix),
        pse=pse,
        query_ends=tuple(actual_seq_qlen or ()),
        key_ends=tuple(actual_seq_kvlen or ()),
        softmax_layout=softmax_layout,
        sink=sink,
        keep_prob=keep_prob,
    )
    saved = Saved(softmax_max, softmax_sum, attention_in)
    return _gradients(fusion, (query, key, value), dy, saved, (seed, offset))


@chapter.reference("npu::npu_fusion_attention_grad_v2")
def fusion_attention_grad_v2(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dy: Tensor,
    head_num: int,
    input_layout: str,
    pse: Tensor | None = None,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    softmax_max: Tensor | None = None,
    softmax_sum: Tensor | None = None,
    softmax_in: Tensor | None = None,
    attention_in: Tensor | None = None,
    query_rope: Tensor | None = None,
    key_rope: Tensor | None = None,
    scale_value: float = 1.0,
    keep_prob: float = 1.0,
    pre_tokens: int = EVERY_TOKEN,
    next_tokens: int = EVERY_TOKEN,
    inner_precise: int = 0,
    seed: int = 0,
    offset: int = 0,
    numels: int = 0,
    prefix: list[int] | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_kvlen: list[int] | None = None,
    sparse_mode: int = 0,
    gen_mask_parallel: bool = True,
    sync: bool = False,
    pse_type: int = PseType.SCALED_TOGETHER,
    q_start_idx: list[int] | None = None,
    kv_start_idx: list[int] | None = None,
    softmax_layout: str = "",
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor]:
    """Gradients of npu_fusion_attention_v2; those of the rotary parts come before the sink's."""
    refuse("npu_fusion_attention_grad_v2", padding_mask=padding_mask)
    fusion = Fusion(
        heads=head_num,
        layout=input_layout.upper(),
        scale=scale_value,
        visibility=visibility(atten_mask, sparse_mode, pre_tokens, next_tokens, prefix),
        pse=pse,
        pse_type=pse_type,
        query_start=first(q_start_idx),
        key_start=first(kv_start_idx),
        query_ends=tuple(actual_seq_qlen or ()),
        key_ends=tuple(actual_seq_kvlen or ()),
        softmax_layout=softmax_layout,
        sink=sink,
        keep_prob=keep_prob,
    )
    whole = (joined(fusion, query, query_rope), joined(fusion, key, key_rope), value)
    saved = Saved(softmax_max, softmax_sum, attention_in)
    found = _gradients(fusion, whole, dy, saved, (seed, offset))
    grad_query, grad_query_rope = _parted(found[0], query, query_rope)
    grad_key, grad_key_rope = _parted(found[1], key, key_rope)
    return grad_query, grad_key, found[2], found[3], grad_query_rope, grad_key_rope, found[4]


@chapter.reference("npu::npu_fusion_attention_grad_v3")
def fusion_attention_grad_v3(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dy: Tensor,
    head_num: int,
    input_layout: str,
    pse: Tensor | None = None,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    softmax_max: Tensor | None = None,
    softmax_sum: Tensor | None = None,
    softmax_in: Tensor | None = None,
    attention_in: Tensor | None = None,
    scale_value: float = 1.0,
    keep_prob: float = 1.0,
    pre_tockens: int = EVERY_TOKEN,
    next_tockens: int = EVERY_TOKEN,
    inner_precise: int = 0,
    seed: Tensor | None = None,
    offset: Tensor | None = None,
    prefix: list[int] | None = None,
    actual_seq_qlen: Tensor | None = None,
    actual_seq_kvlen: Tensor | None = None,
    sparse_mode: int = 0,
    gen_mask_parallel: bool = True,
    sync: bool = False,
    softmax_layout: str = "",
    sink: Tensor | None = None,
) -> Gradients:
    """Gradients of npu_fusion_attention_v3."""
    refuse("npu_fusion_attention_grad_v3", padding_mask=padding_mask)
    fusion = Fusion(
        heads=head_num,
        layout=input_layout.upper(),
        scale=scale_value,
        visibility=visibility(atten_mask, sparse_mode, pre_tockens, next_tockens, prefix),
        pse=pse,
        query_ends=ends(actual_seq_qlen),
        key_ends=ends(actual_seq_kvlen),
        softmax_layout=softmax_layout,
        sink=sink,
        keep_prob=keep_prob,
    )
    saved = Saved(softmax_max, softmax_sum, attention_in)
    state = (_number(seed), _number(offset))
    return _gradients(fusion, (query, key, value), dy, saved, state)


def _gradients(
    fusion: Fusion,
    inputs: tuple[Tensor, Tensor, Tensor],
    grad: Tensor,
    saved: Saved,
    state: tuple[int, int],
) -> Gradients:
    query, key, value = inputs
    of = views(fusion, query, key, value)
    if fusion.keep_prob < 1:
        count = weights_count(fusion, of)
        bits = dropout.generated_bits(query, fusion.keep_prob, *state, count)
        fusion = replace(fusion, bits=bits)
    grad = to_bnsd(grad, fusion.layout, fusion.heads)
    found = backward(fusion, of, grad, _attended(fusion, saved))
    return (
        from_bnsd(found.query, fusion.layout).to(query.dtype),
        from_bnsd(found.key, fusion.layout).to(key.dtype),
        from_bnsd(found.value, fusion.layout).to(value.dtype),
        None if found.pse is None or fusion.pse is None else found.pse.to(fusion.pse.dtype),
        torch.empty(0) if found.sink is None else found.sink,
    )


def _attended(fusion: Fusion, saved: Saved) -> Attended:
    maximum, total, out = saved
    require(
        maximum is not None and total is not None and out is not None,
        "softmax_max, softmax_sum and attention_in are needed for the gradients",
    )
    assert maximum is not None
    assert total is not None
    assert out is not None
    out = to_bnsd(out, fusion.layout, fusion.heads)
    return Attended(out, loaded(fusion, maximum), loaded(fusion, total))


def _parted(grad: Tensor, tensor: Tensor, rope: Tensor | None) -> tuple[Tensor, Tensor | None]:
    if rope is None:
        return grad, None
    whole, rotary = grad.split([tensor.shape[-1], rope.shape[-1]], dim=-1)
    return whole.contiguous(), rotary.contiguous()


def _number(tensor: Tensor | None) -> int:
    return 0 if tensor is None else int(tensor.item())


def _declare(name: str, forward: Callable[..., Any], grad: Callable[..., Any]) -> None:
    """Declare `grad` as what autograd runs for `forward`, as the adapter's derivatives do.

    Only the attention itself carries a gradient back; its statistics do not.
    """
    names = list(signature(forward).parameters)
    taken = set(signature(grad).parameters)

    @chapter.gradient(name)
    def gradient(
        arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        given = dict(zip(names, arguments, strict=True))
        if grads[0] is None:
            return (None,) * len(names)
        kept = {name: value for name, value in given.items() if name in taken}
        kept |= {"dy": grads[0], "scale_value": given["scale"]}
        kept |= {"softmax_max": outputs[1], "softmax_sum": outputs[2], "attention_in": outputs[0]}
        kept |= {"seed": outputs[4], "offset": outputs[5]}
        found = grad(**kept)
        by_name = dict(zip(("query", "key", "value", "pse"), found[:4], strict=True))
        if "query_rope" in given:
            by_name |= {"query_rope": found[4], "key_rope": found[5]}
        by_name["sink"] = None if given["sink"] is None else found[-1]
        return tuple(by_name.get(name) for name in names)


_declare("npu::npu_fusion_attention", fusion_attention, fusion_attention_grad)
_declare("npu::npu_fusion_attention_v2", fusion_attention_v2, fusion_attention_grad_v2)
_declare("npu::npu_fusion_attention_v3", fusion_attention_v3, fusion_attention_grad_v3)
