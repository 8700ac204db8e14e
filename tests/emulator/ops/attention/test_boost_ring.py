"""ATB's attention in steps, and its causal forms, against attention to all keys at once."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.boost.flash import (
    flash_attention_unpad,
    flash_attention_unpad_v2,
    flash_attention_v3,
    prefix_encoder,
    prefix_encoder_out,
)
from cordee.emulator.ops.attention.boost.paged import paged_attention_splitfuse_v2
from cordee.emulator.ops.attention.boost.ring import ring_mla, ring_mla_out

SCALE = 0.4
COUNTS = [3, 5]
NO_MASK = torch.zeros(1)


def attention(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """Of one sequence [S, N, D], with the logarithms [N, S] of its sums."""
    scores = SCALE * torch.einsum("snd,tnd->nst", query, key)
    if causal:
        queries, keys = scores.shape[-2:]
        later = torch.arange(keys) > torch.arange(queries).unsqueeze(1) + keys - queries
        scores = scores.masked_fill(later, -torch.inf)
    return torch.einsum("nst,tnd->snd", scores.softmax(-1), value), scores.logsumexp(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_steps_give_attention_to_the_keys_of_both(dtype: torch.dtype) -> None:
    query, query_rope = torch.randn(8, 4, 8, dtype=dtype), torch.randn(8, 4, 3, dtype=dtype)
    own, before = ([3, 5], [2, 4])
    key, key_rope = torch.randn(14, 4, 8, dtype=dtype), torch.randn(14, 4, 3, dtype=dtype)
    value = torch.randn(14, 4, 6, dtype=dtype)
    first = (query, query_rope, key[:8], key_rope[:8], value[:8])
    later = (query, query_rope, key[8:], key_rope[8:], value[8:])

    out, lse = ring_mla(
        *first, NO_MASK, torch.tensor(own), 4, 4, qk_scale=SCALE, mask_type="mask_type_triu"
    )
    ring_mla_out(
        *later, NO_MASK, torch.tensor([own, before]), 4, 4, pre_out=out, prev_lse=lse,
        qk_scale=SCALE, calc_type="calc_type_default", output=out, softmax_lse=lse,
    )  # fmt: skip

    whole_query = torch.cat([query, query_rope], -1).float().split(own)
    whole_key = torch.cat([key, key_rope], -1).float()
    for b, rows in enumerate((slice(0, 3), slice(3, 8))):
        keys = torch.cat([whole_key[8:].split(before)[b], whole_key[:8].split(own)[b]])
        values = torch.cat([value[8:].split(before)[b], value[:8].split(own)[b]]).float()
        expected, logs = attention(whole_query[b], keys, values, causal=True)
        close = 1e-5 if dtype == torch.float32 else 0.03
        torch.testing.assert_close(out[rows].float(), expected, rtol=close, atol=close)
        torch.testing.assert_close(lse[:, rows], logs)


def test_a_step_without_keys_changes_nothing() -> None:
    query, rope = torch.randn(3, 2, 8), torch.randn(3, 2, 4)
    before, logs = torch.randn(3, 2, 8), torch.randn(2, 3)
    nothing = torch.zeros(0, 2, 8), torch.zeros(0, 2, 4), torch.zeros(0, 2, 8)

    out, lse = ring_mla(
        query, rope, *nothing, NO_MASK, torch.tensor([[3], [0]]), 2, 2, pre_out=before,
        prev_lse=logs, calc_type="calc_type_default",
    )  # fmt: skip

    torch.testing.assert_close(out, before)
    torch.testing.assert_close(lse, logs)


def test_a_step_refuses_what_is_not_known() -> None:
    sides = tuple(torch.randn(3, 1, n) for n in (8, 4, 8, 4, 8))
    with pytest.raises(RuntimeError, match="mask_type"):
        ring_mla(*sides, NO_MASK, torch.tensor([3]), 1, 1, mask_type="swa")
    with pytest.raises(NotEmulated, match="triangle"):
        ring_mla(*sides, NO_MASK, torch.tensor([[3], [2]]), 1, 1, mask_type="mask_type_triu")


def test_prompts_are_causal_whatever_the_mask_holds() -> None:
    query, key, value = torch.randn(8, 4, 8), torch.randn(8, 4, 8), torch.randn(8, 4, 6)
    counts = torch.tensor(COUNTS, dtype=torch.int32)
    out, whole, same = (torch.zeros(8, 4, 6) for _ in range(3))

    flash_attention_v3(query, key, value, NO_MASK, counts, SCALE, 4, 4, out=out)
    flash_attention_unpad(query, key, value, counts, SCALE, 4, 4, whole)
    flash_attention_unpad_v2(query, key, value, counts, SCALE, 4, 4, kernel_type=2, out=same)

    for rows in (slice(0, 3), slice(3, 8)):
        expected, _ = attention(query[rows], key[rows], value[rows], causal=True)
        torch.testing.assert_close(out[rows], expected)
    torch.testing.assert_close(same, whole)
    with pytest.raises(RuntimeError, match="mask_type"):
        flash_attention_v3(query, key, value, NO_MASK, counts, SCALE, 4, 4, mask_type=1, out=out)
    with pytest.raises(RuntimeError, match="kernel_type"):
        flash_attention_unpad_v2(query, key, value, counts, SCALE, 4, 4, kernel_type=1, out=out)


def test_queries_are_the_end_of_what_is_cached() -> None:
    query, key, value = torch.randn(4, 2, 8), torch.randn(7, 4, 2, 8), torch.randn(7, 4, 2, 8)
    table = torch.tensor([[3, 1, 6], [0, 5, 2]], dtype=torch.int32)
    contexts, counts = torch.tensor([11, 6], dtype=torch.int32), torch.tensor([3, 1])
    out, written = torch.zeros(4, 2, 8), torch.zeros(4, 2, 8)

    paged_attention_splitfuse_v2(
        query, key, value, table, contexts, NO_MASK, counts, 2, 2, SCALE, out=out
    )
    arguments = (query, key, value, table, [3, 1], [11, 6], 2, SCALE, 2)
    given = prefix_encoder(*arguments)
    prefix_encoder_out(*arguments, mask_type="mask_type_norm_compress", output=written)

    for b, rows in enumerate((slice(0, 3), slice(3, 4))):
        sides = (t[table[b].long()].flatten(0, 1)[: int(contexts[b])] for t in (key, value))
        expected, _ = attention(query[rows], *sides, causal=True)
        for found in (out, given, written):
            torch.testing.assert_close(found[rows], expected)
    with pytest.raises(RuntimeError, match="mask_type"):
        paged_attention_splitfuse_v2(
            query, key, value, table, contexts, NO_MASK, counts, 2, 2, SCALE, mask_type=1, out=out
        )
    with pytest.raises(RuntimeError, match="mask_type"):
        prefix_encoder(*arguments, mask_type="triangle")
