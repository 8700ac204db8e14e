"""ATB's multi-head latent attention: queries and cached keys in two parts, values in one."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.boost.paged import get_workspace
from cordee.emulator.ops.attention.boost.sequences import Added, attend_all, cached_keys, nothing
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("atb/MultiHeadLatentAttentionAtb.cpp"))

OPERATOR = "npu_multi_head_latent_attention"
SPLIT_CACHE = "krope_ctkv"


@chapter.reference("atb::npu_multi_head_latent_attention")
def latent_attention(
    q_nope: Tensor,
    q_rope: Tensor,
    ctkv: Tensor,
    k_rope: Tensor,
    block_tables: Tensor,
    context_lens: list[int],
    q_headnum: int,
    qk_scale: float,
    kv_headnum: int,
    mask: Tensor | None = None,
    qseqlen: list[int] | None = None,
    qk_descale: Tensor | None = None,
    pv_descale: Tensor | None = None,
    mask_type: str | None = None,
    calc_type: str | None = None,
    cache_mode: str | None = None,
) -> Tensor:
    """Attention [T, N, D] of queries [T, N, D] and their rotary parts."""
    refuse(OPERATOR, qk_descale=qk_descale, pv_descale=pv_descale)
    out, _ = _attend(
        (q_nope, q_rope), (ctkv, k_rope), block_tables, context_lens, qseqlen, qk_scale,
        _added(mask, mask_type, context_lens, qseqlen), cache_mode,
    )  # fmt: skip
    return out


@chapter.reference("atb::npu_multi_head_latent_attention.out")
def latent_attention_out(*values: object, output: Tensor, **named: object) -> Tensor:
    """The same, written into `output`."""
    return output.copy_(latent_attention(*values, **named))


@chapter.reference("atb::npu_multi_head_latent_attention.lse")
def latent_attention_lse(
    q_nope: Tensor,
    q_rope: Tensor,
    ctkv: Tensor,
    k_rope: Tensor,
    block_tables: Tensor,
    context_lens: list[int],
    q_headnum: int,
    qk_scale: float,
    kv_headnum: int,
    return_lse: bool,
    mask: Tensor | None = None,
    qseqlen: list[int] | None = None,
    qk_descale: Tensor | None = None,
    pv_descale: Tensor | None = None,
    mask_type: str | None = None,
    calc_type: str | None = None,
    cache_mode: str | None = None,
    workspace: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same with the logarithm of each row's sum [T, N, 1]."""
    refuse(OPERATOR, qk_descale=qk_descale, pv_descale=pv_descale)
    out, lse = _attend(
        (q_nope, q_rope), (ctkv, k_rope), block_tables, context_lens, qseqlen, qk_scale,
        _added(mask, mask_type, context_lens, qseqlen), cache_mode,
    )  # fmt: skip
    return out, lse.to(q_nope.dtype) if return_lse else torch.empty(0, dtype=q_nope.dtype)


@chapter.reference("atb::npu_multi_head_latent_attention.lse_out")
def latent_attention_lse_out(
    *values: object, output: Tensor, lse: Tensor, **named: object
) -> tuple[Tensor, Tensor]:
    """The same, written into `output` and `lse`."""
    found, logs = latent_attention_lse(*values, **named)
    output.copy_(found)
    if logs.numel():
        lse.copy_(logs)
    return output, lse


chapter.reference("atb::_npu_multi_head_latent_attention_get_workspace.lse")(get_workspace)


def _attend(
    query: tuple[Tensor, Tensor],
    cache: tuple[Tensor, Tensor],
    block_tables: Tensor,
    context_lens: list[int],
    query_lengths: list[int] | None,
    scale: float,
    added: Added,
    cache_mode: str | None,
) -> tuple[Tensor, Tensor]:
    if cache_mode not in (None, SPLIT_CACHE):
        raise NotEmulated(f"{OPERATOR}: cache_mode {cache_mode} is not emulated")
    counts = list(query_lengths or [1] * len(context_lens))
    keys = cached_keys(
        torch.cat(cache, -1), cache[0], block_tables, list(context_lens), cache[0].shape[-2]
    )
    rows, out = torch.cat(query, -1), torch.zeros_like(query[0])
    lse = attend_all(rows, counts, keys, scale, added, out)
    return out, lse


def _added(
    mask: Tensor | None, kind: str | None, contexts: list[int], queries: list[int] | None
) -> Added:
    """What a mask with a row for each query adds; "mask_type_spec" names it."""
    if mask is None or kind in (None, "undefined"):
        return nothing
    if kind != "mask_type_spec":
        raise NotEmulated(f"{OPERATOR}: mask_type {kind} is not emulated")
    counts = list(queries or [1] * len(contexts))
    rows = mask.reshape(-1, mask.shape[-1])

    def added(number: int, count: int, keys: int) -> Tensor:
        start = sum(counts[:number])
        return rows[None, None, start : start + count, :keys].float()

    return added
