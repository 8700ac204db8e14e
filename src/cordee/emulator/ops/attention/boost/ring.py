"""ATB's latent attention in steps, each of which sees other keys and is joined to those before.

Liu, Zaharia, Abbeel, "Ring Attention" (arXiv:2310.01889), section 3: a step's share of the result
is its share of the softmax's sum.
"""

from typing import Any

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.boost.masks import causal
from cordee.emulator.ops.attention.boost.sequences import (
    attend_all,
    by_head,
    lengths,
    nothing,
    packed_keys,
)
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("atb/RingMlaAtb.cpp"))

OPERATOR = "npu_ring_mla"
TRIANGLE = "mask_type_triu"
LATER_STEP = "calc_type_default"
CHOICES = {
    "kernel_type": (None, "kernel_type_default", "kernel_type_high_precision"),
    "mask_type": (None, "no_mask", TRIANGLE),
    "input_layout": (None, "type_bsnd"),
    "calc_type": (None, LATER_STEP, "calc_type_first_ring"),
}


@chapter.reference("atb::npu_ring_mla")
def ring_mla(
    q_nope: Tensor,
    q_rope: Tensor,
    k_nope: Tensor,
    k_rope: Tensor,
    value: Tensor,
    mask: Tensor,
    seqlen: Tensor,
    head_num: int,
    kv_head_num: int,
    *,
    pre_out: Tensor | None = None,
    prev_lse: Tensor | None = None,
    qk_scale: float = 1,
    kernel_type: str | None = None,
    mask_type: str | None = None,
    input_layout: str | None = None,
    calc_type: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention [T, N, D] of a step, and the logarithm [N, T] of each row's sum.

    `seqlen` holds the queries of each sequence, or in a second row also its keys. A later step is
    given what the steps before it gave.
    """
    _check(locals())
    counts, key_counts = _counts(seqlen, mask_type)
    query = torch.cat([by_head(q_nope, head_num), by_head(q_rope, head_num)], -1)
    key = torch.cat([by_head(k_nope, kv_head_num), by_head(k_rope, kv_head_num)], -1)
    keys = packed_keys(key, value, key_counts, kv_head_num)
    out = torch.zeros(*query.shape[:2], value.shape[-1])
    added = causal if mask_type == TRIANGLE else nothing
    sums = attend_all(query, counts, keys, qk_scale, added, out)
    # A sequence without keys has no sum.
    seen = torch.tensor([n > 0 for n in key_counts]).repeat_interleave(torch.tensor(counts))
    lse = sums.squeeze(-1).masked_fill(~seen.unsqueeze(-1), -torch.inf)
    if calc_type == LATER_STEP and pre_out is not None and prev_lse is not None:
        out, lse = _joined(out, lse, pre_out.float().reshape(out.shape), prev_lse.float().T)
    return out.to(q_nope.dtype), lse.T.contiguous()


@chapter.reference("atb::npu_ring_mla.out")
def ring_mla_out(
    *values: Any, output: Tensor, softmax_lse: Tensor, **named: Any
) -> tuple[Tensor, Tensor]:
    """The same, written into `output` and `softmax_lse`."""
    out, lse = ring_mla(*values, **named)
    return output.copy_(out.reshape(output.shape)), softmax_lse.copy_(lse)


def _check(given: dict[str, object]) -> None:
    for name, choices in CHOICES.items():
        require(
            given[name] in choices, f"{OPERATOR}: {name} must be in {choices}, not {given[name]!r}"
        )


def _counts(seqlen: Tensor, mask_type: str | None) -> tuple[list[int], list[int]]:
    """Queries and keys of each sequence."""
    rows = seqlen if seqlen.dim() == 2 else seqlen.unsqueeze(0)
    counts, key_counts = lengths(rows[0]), lengths(rows[-1])
    if mask_type == TRIANGLE and counts != key_counts:
        raise NotEmulated(f"{OPERATOR}: a triangle with fewer queries than keys is not emulated")
    return counts, key_counts


def _joined(out: Tensor, lse: Tensor, before: Tensor, lse_before: Tensor) -> tuple[Tensor, Tensor]:
    """Two steps [T, N, D] with their logarithms [T, N] as one."""
    whole = torch.logaddexp(lse, lse_before)
    share, share_before = (
        (part - whole).exp().nan_to_num(0).unsqueeze(-1) for part in (lse, lse_before)
    )
    return out * share + before * share_before, whole
