"""npu_fusion_attention and its later versions, forward."""

from dataclasses import replace

import torch
from torch import Tensor

from cordee.emulator.ops.attention import dropout
from cordee.emulator.ops.attention.fusion import forward, stored, weights_count
from cordee.emulator.ops.attention.fusion_arguments import DOCUMENTS, Arguments, version
from cordee.emulator.ops.attention.layouts import from_bnsd

# Attention, maximum, sum, an output the operator reserves, and where dropout's numbers came from.
Attention = tuple[Tensor, Tensor, Tensor, Tensor, int, int, int]


@version("npu::npu_fusion_attention", seeded=False)
def fusion_attention(told: Arguments) -> Attention:
    """Attention of `query` to `key` and `value`, and what its backward needs."""
    return _attention(told)


@version("npu::npu_fusion_attention_v2", seeded=False)
def fusion_attention_v2(told: Arguments) -> Attention:
    """npu_fusion_attention with ALiBi made inside and rotary parts given apart."""
    return _attention(told)


@version(
    "npu::npu_fusion_attention_v3",
    source=f"{DOCUMENTS}/torch_npu-npu_fusion_attention_v3.md",
    seeded=False,
)
def fusion_attention_v3(
    told: Arguments,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """npu_fusion_attention with lengths, seed and offset as tensors."""
    out, maximum, total, reserved, seed, offset, _ = _attention(told)
    return out, maximum, total, reserved, torch.tensor([seed]), torch.tensor([offset])


def _attention(told: Arguments) -> Attention:
    fusion = told.fusion()
    of = told.views(fusion)
    count = weights_count(fusion, of)
    seed, offset = told.generator
    if fusion.keep_prob < 1:
        bits = told.dropout_mask
        if bits is None:
            # The adapter overwrites seed and offset that it is given, whatever the page says.
            seed, offset = dropout.draw()
            bits = dropout.generated_bits(told.query, fusion.keep_prob, seed, offset, count)
        fusion = replace(fusion, bits=bits)
    found = forward(fusion, of)
    return (
        from_bnsd(found.out, fusion.layout).to(told.query.dtype),
        stored(fusion, found.maximum),
        stored(fusion, found.total),
        told.query.new_empty(0),
        seed,
        offset,
        count,
    )
