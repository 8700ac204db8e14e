"""Operators of Ascend Transformer Boost against loops over sequences, tokens and slots."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.boost.caches import (
    paged_cache_load,
    paged_cache_load_out,
    reshape_and_cache,
    rotary_embedding,
)
from cordee.emulator.ops.attention.boost.flash import (
    flash_attention,
    flash_attention_prefix_v2,
    flash_attention_qlens,
    flash_attention_unpad,
    flash_attention_v2,
)
from cordee.emulator.ops.attention.boost.latent import (
    latent_attention,
    latent_attention_lse_out,
)
from cordee.emulator.ops.attention.boost.linear import matmul_add_fp32, quantize_per_tensor
from cordee.emulator.ops.attention.boost.paged import (
    paged_attention,
    paged_attention_mla,
    paged_attention_quant,
    paged_attention_splitfuse,
    paged_attention_v2,
)

SCALE = 0.3
BLOCK = 4
TABLE = torch.tensor([[3, 1, 6], [0, 5, 2]], dtype=torch.int32)
CONTEXT = torch.tensor([11, 6], dtype=torch.int32)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def alone(
    query: Tensor, key: Tensor, value: Tensor, added: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """One sequence [S, N, D]: its attention, and the logarithm of each row's sum [S, N, 1]."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = SCALE * torch.einsum("snd,tnd->nst", query, key) + added
    out = torch.einsum("nst,tnd->snd", scores.softmax(-1), value)
    return out, scores.logsumexp(-1).T.unsqueeze(-1)


def cached(cache: Tensor, sequence: int) -> Tensor:
    return cache[TABLE[sequence].long()].flatten(0, 1)[: int(CONTEXT[sequence])]


def causal(queries: int, keys: int) -> Tensor:
    later = torch.arange(keys) > torch.arange(queries).unsqueeze(1) + keys - queries
    return torch.zeros(queries, keys).masked_fill(later, -torch.inf)


def test_one_query_a_sequence_attends_to_its_blocks() -> None:
    query, key, value = normal(2, 4, 8), normal(7, BLOCK, 2, 8), normal(7, BLOCK, 2, 6)
    out, latent = torch.zeros(2, 4, 6), torch.zeros(2, 4, 5)

    paged_attention(query, key, value, 2, 4, SCALE, TABLE, CONTEXT, out)
    paged_attention_mla(query, key, 2, 4, SCALE, TABLE, CONTEXT, 5, latent)

    for b in range(2):
        rows = query[b : b + 1]
        torch.testing.assert_close(out[b : b + 1], alone(rows, cached(key, b), cached(value, b))[0])
        values = cached(key, b)[..., :5]
        torch.testing.assert_close(latent[b : b + 1], alone(rows, cached(key, b), values)[0])


def test_a_mask_is_added_to_the_scores_of_a_cache() -> None:
    query, key, value = normal(2, 4, 8), normal(7, BLOCK, 2, 8), normal(7, BLOCK, 2, 6)
    mask, out = normal(2, 4, 1, 12), torch.zeros(2, 4, 6)

    given = paged_attention_v2(
        query, key, TABLE, CONTEXT.tolist(), value_cache=value, mask=mask, num_kv_heads=2,
        num_heads=4, scale_value=SCALE, mask_type=2, out=out,
    )  # fmt: skip

    assert given is out
    for b, length in enumerate(CONTEXT.tolist()):
        added = mask[b, :, :, :length]
        expected, _ = alone(query[b : b + 1], cached(key, b), cached(value, b), added)
        torch.testing.assert_close(out[b : b + 1], expected)


def test_prompts_and_single_queries_go_together() -> None:
    query, key, value = normal(4, 4, 8), normal(7, BLOCK, 2, 8), normal(7, BLOCK, 2, 6)
    mask, out = normal(4, 16), torch.zeros(4, 4, 6)

    paged_attention_splitfuse(
        query, key, value, TABLE, CONTEXT, mask, torch.tensor([3, 1]), 2, 4, SCALE, out
    )

    for b, rows in enumerate((slice(0, 3), slice(3, 4))):
        added = mask[rows, : int(CONTEXT[b])]
        torch.testing.assert_close(
            out[rows], alone(query[rows], cached(key, b), cached(value, b), added)[0]
        )


def test_integers_have_a_scale_for_each_head() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 8), (7, BLOCK, 2, 8), (7, BLOCK, 2, 8))
    query, key, value = (
        torch.randint(-9, 9, s, generator=generator, dtype=torch.int8) for s in shapes
    )
    key_scale, value_scale, out = (
        0.1 * normal(4).abs(),
        normal(4, seed=1).abs(),
        torch.zeros(2, 4, 8),
    )

    paged_attention_quant(
        query, key, value, 2, 4, SCALE, TABLE, CONTEXT, 3, 27, key_scale, value_scale, out
    )

    for b in range(2):
        scaled = query[b : b + 1].float() * key_scale.view(1, 4, 1)
        expected, _ = alone(scaled, cached(key, b).float(), cached(value, b).float())
        wanted = expected * value_scale.view(1, 4, 1)
        torch.testing.assert_close(out[b : b + 1], wanted, rtol=0.05, atol=0.05)
    with pytest.raises(NotEmulated, match="quant_type 1"):
        paged_attention_quant(
            query, key, value, 2, 4, SCALE, TABLE, CONTEXT, 1, 27, key_scale, value_scale, out
        )


COUNTS = torch.tensor([3, 5], dtype=torch.int32)
SPANS = (slice(0, 3), slice(3, 8))


def test_prompts_in_a_row_attend_to_themselves() -> None:
    query, key, value = normal(8, 4, 8), normal(8, 2, 8), normal(8, 2, 6)
    mask, masked, whole = normal(5, 5), torch.zeros(8, 4, 6), torch.zeros(8, 4, 6)

    flash_attention(query, key, value, mask, COUNTS, SCALE, 4, 2, masked)
    flash_attention_unpad(query, key, value, COUNTS, SCALE, 4, 2, whole)

    for span in SPANS:
        count = span.stop - span.start
        sides = query[span], key[span], value[span]
        torch.testing.assert_close(masked[span], alone(*sides, mask[:count, :count])[0])
        torch.testing.assert_close(whole[span], alone(*sides)[0])


def test_alibi_is_made_from_slopes() -> None:
    query, key, value = normal(8, 16), normal(8, 8), normal(8, 8)
    slopes, out = -torch.tensor([0.5, 0.25]), torch.zeros(8, 2, 8)

    flash_attention_v2(
        query, key, value, COUNTS.tolist(), mask=torch.zeros(256, 256), slopes=slopes, mask_type=4,
        scale_value=SCALE, num_heads=2, num_kv_heads=1, out=out,
    )  # fmt: skip

    for span in SPANS:
        count = span.stop - span.start
        distance = torch.arange(count) - torch.arange(count).unsqueeze(1)
        added = -slopes.view(2, 1, 1) * distance + causal(count, count)
        sides = (t[span].unflatten(-1, (-1, 8)) for t in (query, key, value))
        torch.testing.assert_close(out[span], alone(*sides, added)[0])


def test_queries_follow_a_cached_prefix() -> None:
    query, key, value = normal(4, 4, 8), normal(7, BLOCK, 16), normal(7, BLOCK, 16)
    slopes = -normal(4).abs()
    plain, sloped = torch.zeros(4, 4, 8), torch.zeros(4, 4, 8)

    flash_attention_qlens(
        query, key, value, TABLE, torch.zeros(128, 128), torch.tensor([3, 1]), CONTEXT, 2, 4, SCALE,
        plain,
    )  # fmt: skip
    flash_attention_prefix_v2(
        query, key, value, TABLE, torch.zeros(256, 256), [3, 1], CONTEXT.tolist(), slopes=slopes,
        mask_type=5, num_kv_heads=2, num_heads=4, scale_value=SCALE, out=sloped,
    )  # fmt: skip

    for b, rows in enumerate((slice(0, 3), slice(3, 4))):
        count, length = rows.stop - rows.start, int(CONTEXT[b])
        sides = query[rows], *(cached(t, b).unflatten(-1, (2, 8)) for t in (key, value))
        hidden = causal(count, length)
        torch.testing.assert_close(plain[rows], alone(*sides, hidden)[0])
        ahead = torch.arange(length) - torch.arange(length - count, length).unsqueeze(1)
        added = -slopes.view(4, 1, 1) * ahead.sign() * ahead.abs().float().sqrt() + hidden
        torch.testing.assert_close(sloped[rows], alone(*sides, added)[0])


def test_latent_attention_gives_logarithms_where_asked() -> None:
    query, query_rope = normal(2, 4, 8), normal(2, 4, 3)
    keys, key_rope = normal(7, BLOCK, 1, 8), normal(7, BLOCK, 1, 3)
    arguments = (query, query_rope, keys, key_rope, TABLE, CONTEXT.tolist(), 4, SCALE, 1)
    output, lse = torch.zeros(2, 4, 8), torch.zeros(2, 4, 1)

    out = latent_attention(*arguments)
    latent_attention_lse_out(*arguments, True, calc_type="calc_type_ring", output=output, lse=lse)

    for b in range(2):
        whole = torch.cat([query[b : b + 1], query_rope[b : b + 1]], -1)
        both = torch.cat([cached(keys, b), cached(key_rope, b)], -1)
        expected, logs = alone(whole, both, cached(keys, b))
        torch.testing.assert_close(out[b : b + 1], expected)
        torch.testing.assert_close(output[b : b + 1], expected)
        torch.testing.assert_close(lse[b : b + 1], logs)


def test_tokens_are_written_to_their_slots_and_read_back() -> None:
    key, value = normal(3, 2, 8), normal(3, 2, 16).half()
    key_cache, fractal = torch.zeros(7, BLOCK, 2, 8), torch.zeros(7, 2, BLOCK, 16).half()

    reshape_and_cache(key, value, key_cache, fractal, torch.tensor([13, -1, 2]).int())

    assert key_cache[3, 1].equal(key[0])
    assert key_cache[0, 2].equal(key[2])
    assert int(key_cache.any(-1).any(-1).sum()) == 2
    assert fractal[3, :, 1].flatten().equal(value[0].flatten())
    keys, _ = paged_cache_load(key_cache, key_cache, TABLE, CONTEXT)
    assert keys.equal(torch.cat([cached(key_cache, 0), cached(key_cache, 1)]))


def test_a_load_may_start_at_a_later_block() -> None:
    key_cache, value_cache = normal(7, BLOCK, 1, 8), normal(7, BLOCK, 1, 4)
    key, value = torch.zeros(8, 1, 8), torch.zeros(8, 1, 4)

    paged_cache_load_out(
        key_cache, value_cache, TABLE, torch.tensor([6, 2]), seq_starts=torch.tensor([4, 9]),
        key=key, value=value,
    )  # fmt: skip

    expected = torch.cat([key_cache[1], key_cache[6][:2], key_cache[2][:2]])
    assert key.equal(expected)


@pytest.mark.parametrize("halves", [True, False])
def test_query_and_key_are_rotated_in_place(halves: bool) -> None:
    query, key, cache = normal(3, 16), normal(3, 8), normal(10, 8)
    positions, given = torch.tensor([4, 0, 9]), query.clone()

    rotary_embedding(positions, given, key, 8, cache, halves)

    cos, sin = cache[positions].chunk(2, -1)
    for head in range(2):
        old, new = query[:, 8 * head : 8 * head + 8], given[:, 8 * head : 8 * head + 8]
        for pair in range(4):
            a, b = (pair, pair + 4) if halves else (2 * pair, 2 * pair + 1)
            turned = torch.complex(old[:, a], old[:, b]) * torch.complex(cos[:, pair], sin[:, pair])
            torch.testing.assert_close(new[:, a], turned.real)
            torch.testing.assert_close(new[:, b], turned.imag)


def test_a_product_is_added_in_float32() -> None:
    x, weight, total = normal(5, 3).half(), normal(5, 4).half(), normal(3, 4)
    expected = total + x.float().T @ weight.float()

    matmul_add_fp32(x, weight, total)

    torch.testing.assert_close(total, expected)


def test_quantisation_divides_rounds_and_shifts() -> None:
    x, scale = normal(1, 4, 4).half(), normal(4, 4).abs().half() + 0.1
    zero, y = torch.arange(16).view(4, 4).to(torch.int8), torch.zeros(1, 4, 4, dtype=torch.int8)

    quantize_per_tensor(x, scale, zero, y)

    assert y.equal(((x.float() / scale.float()).round() + zero).clamp(-128, 127).to(torch.int8))
    with pytest.raises(RuntimeError, match="at most 8 dimensions, but got 9"):
        quantize_per_tensor(x, torch.ones((1,) * 9), zero, y)
