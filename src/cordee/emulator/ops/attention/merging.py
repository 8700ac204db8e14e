"""Attention to parts of the keys, put together as if it were to all of them.

Liu, Zaharia, Abbeel, "Ring Attention" (arXiv:2310.01889), section 3: the parts are weighted by
their share of the softmax's sum.
"""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.fusion import STATISTIC_COPIES
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/RingAttentionUpdateKernelNpuOpApi.cpp"))


@chapter.reference("npu::npu_ring_attention_update")
def ring_attention_update(
    prev_attn_out: Tensor,
    prev_softmax_max: Tensor,
    prev_softmax_sum: Tensor,
    cur_attn_out: Tensor,
    cur_softmax_max: Tensor,
    cur_softmax_sum: Tensor,
    actual_seq_qlen: Tensor | None = None,
    input_layout: str = "SBH",
    input_softmax_layout: str = "",
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention, maximum and sum of both steps together."""
    require(
        input_layout in ("SBH", "TND"),
        f"input_layout only supports 'SBH' or 'TND', but got {input_layout}",
    )
    require(
        input_softmax_layout in ("", "SBH", "TND"),
        (f"input_softmax_layout only supports '', 'SBH' or 'TND', but got {input_softmax_layout}"),
    )
    require(
        prev_softmax_max.shape[-1] == STATISTIC_COPIES,
        "softmax tensors require the last dimension to be 8.",
    )
    require(
        input_layout == "SBH" or actual_seq_qlen is not None,
        "actual_seq_qlen is required when input_layout is 'TND'.",
    )
    maximum = torch.maximum(prev_softmax_max, cur_softmax_max)
    prev_sum = prev_softmax_sum * (prev_softmax_max - maximum).exp()
    cur_sum = cur_softmax_sum * (cur_softmax_max - maximum).exp()
    total = prev_sum + cur_sum
    out = _shared(
        prev_attn_out, prev_sum / total, input_layout, input_softmax_layout, actual_seq_qlen
    )
    out = out + _shared(
        cur_attn_out, cur_sum / total, input_layout, input_softmax_layout, actual_seq_qlen
    )
    return out.to(prev_attn_out.dtype), maximum, total


@chapter.reference(
    "npu::npu_attention_update", source=code_of("opapi/AttentionUpdateKernelNpuOpApi.cpp")
)
def attention_update(
    lse: list[Tensor], local_out: list[Tensor], update_type: int
) -> tuple[Tensor, Tensor | None]:
    """Attention [N, H] of all parts, given each one's logarithm of its sum [N].

    `update_type` 1 asks for the logarithm of the whole as well.
    """
    parts = torch.stack(lse).float()
    whole = parts.logsumexp(0)
    # A part that saw no key has an infinite logarithm, and no share.
    share = (parts - whole).exp().masked_fill(parts == torch.inf, 0).unsqueeze(-1)
    out = (torch.stack(local_out).float() * share).sum(0).to(local_out[0].dtype)
    return out, whole.to(lse[0].dtype) if update_type == 1 else None


def _shared(
    out: Tensor, share: Tensor, layout: str, softmax_layout: str, ends: Tensor | None
) -> Tensor:
    """`out` in float32, each row multiplied by its share [B, N, S, 8] or [T, N, 8]."""
    if layout == "SBH":
        by_row = share[..., :1].permute(2, 0, 1, 3)
        by_head: Tensor = out.float().unflatten(-1, (share.shape[1], -1))
        return (by_head * by_row).flatten(-2)
    if softmax_layout != "TND" and ends is not None:
        share = _tokens_first(share, ends.tolist())
    return out.float() * share[..., :1]


def _tokens_first(share: Tensor, ends: list[int]) -> Tensor:
    """[T, N, 8], given with heads before tokens within each sequence."""
    _, heads, copies = share.shape
    starts = [0, *ends[:-1]]
    parts = share.flatten().split(
        [(end - start) * heads * copies for start, end in zip(starts, ends, strict=True)]
    )
    return torch.cat([part.view(heads, -1, copies).transpose(0, 1) for part in parts])
