"""Attention for inference against brute force over each sequence's own tokens."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.fused_inference import (
    fused_infer_attention_score,
    fused_infer_attention_score_out,
    infer_output,
)
from cordee.emulator.ops.attention.fused_inference_v2 import fused_infer_attention_score_v2
from cordee.emulator.ops.attention.inference_operators import (
    incre_flash_attention,
    prompt_flash_attention,
)

SCALE = 0.3
TRIANGLE = torch.ones(2048, 2048, dtype=torch.bool).triu(1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def alone(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    hidden: Tensor | None = None,
    extra: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One sequence [N, S, D]: its attention, and the logarithm of each row's sum."""
    shared = query.shape[0] // key.shape[0]
    key, value = key.repeat_interleave(shared, 0), value.repeat_interleave(shared, 0)
    scores = SCALE * torch.einsum("nsd,ntd->nst", query, key)
    if extra is not None:
        scores = scores + extra
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ value, scores.logsumexp(-1, keepdim=True)


def causal(queries: int, keys: int) -> Tensor:
    return torch.arange(keys) > torch.arange(queries).unsqueeze(1) + keys - queries


BLOCK = 16
TABLE = torch.tensor([[3, 1, 6], [0, 5, 2]], dtype=torch.int32)
LENGTHS = [37, 20]


def in_blocks(tokens: Tensor, layout: str) -> Tensor:
    """Sequences [B, N, S, D] laid into a cache of seven blocks after TABLE."""
    batch, heads, _, size = tokens.shape
    cache = normal(7, heads, BLOCK, size).to(tokens.dtype)
    for b in range(batch):
        for place in range(TABLE.shape[1]):
            cache[TABLE[b, place]] = tokens[b, :, place * BLOCK : (place + 1) * BLOCK]
    if layout == "NZ":
        return cache.unflatten(-1, (-1, 16)).transpose(2, 3).contiguous()
    return cache if layout == "BnNBsD" else cache.transpose(1, 2).flatten(2).contiguous()


@pytest.mark.parametrize("layout", ["BnNBsD", "BnBsH", "NZ"])
def test_decoding_reads_a_cache_of_blocks(layout: str) -> None:
    query, key, value = normal(2, 4, 1, 32), normal(2, 2, 48, 32), normal(2, 2, 48, 32, seed=1)

    out = incre_flash_attention(
        query, in_blocks(key, layout), in_blocks(value, layout), num_heads=4, scale_value=SCALE,
        input_layout="BNSD", num_key_value_heads=2, block_table=TABLE, block_size=BLOCK,
        actual_seq_lengths=LENGTHS,
    )  # fmt: skip

    for b, length in enumerate(LENGTHS):
        expected, _ = alone(query[b], key[b, :, :length], value[b, :, :length])
        torch.testing.assert_close(out[b], expected)


def test_prefill_and_decoding_share_a_batch_in_a_row() -> None:
    query, key, value = normal(4, 4, 32), normal(2, 2, 48, 32), normal(2, 2, 48, 32, seed=1)

    out, lse = fused_infer_attention_score(
        query, in_blocks(key, "BnBsH"), in_blocks(value, "BnBsH"), num_heads=4, scale=SCALE,
        input_layout="TND", num_key_value_heads=2, block_table=TABLE, block_size=BLOCK,
        actual_seq_lengths=[3, 4], actual_seq_lengths_kv=LENGTHS, sparse_mode=3,
        atten_mask=TRIANGLE, softmax_lse_flag=True,
    )  # fmt: skip

    assert lse.shape == (4, 4, 1)
    for b, rows in enumerate((slice(0, 3), slice(3, 4))):
        tokens = slice(0, LENGTHS[b])
        hidden = causal(rows.stop - rows.start, LENGTHS[b])
        expected, logs = alone(
            query[rows].transpose(0, 1), key[b, :, tokens], value[b, :, tokens], hidden
        )
        torch.testing.assert_close(out[rows], expected.transpose(0, 1))
        torch.testing.assert_close(lse[rows], logs.transpose(0, 1))


def test_a_block_outside_the_cache_is_refused() -> None:
    query, cache = normal(1, 2, 1, 16), normal(3, 2, BLOCK, 16)
    options = {"num_heads": 2, "input_layout": "BNSD", "block_size": BLOCK}

    with pytest.raises(RuntimeError, match="outside the cache"):
        incre_flash_attention(
            query,
            cache,
            cache,
            block_table=torch.tensor([[1, 9]]),
            actual_seq_lengths=[20],
            **options,
        )
    with pytest.raises(RuntimeError, match="needs the lengths"):
        incre_flash_attention(query, cache, cache, block_table=torch.tensor([[1, 2]]), **options)
    with pytest.raises(RuntimeError, match="need 3 blocks"):
        incre_flash_attention(
            query,
            cache,
            cache,
            block_table=torch.tensor([[1, 2]]),
            actual_seq_lengths=[40],
            **options,
        )


@pytest.mark.parametrize("out_layout", ["BNSD", "BNSD_BSND", "BNSD_NBSD"])
def test_a_prompt_of_every_length_in_a_batch(out_layout: str) -> None:
    query, key, value = normal(2, 4, 6, 8), normal(2, 2, 9, 8), normal(2, 2, 9, 5)

    out = prompt_flash_attention(
        query, key, value, num_heads=4, num_key_value_heads=2, scale_value=SCALE,
        input_layout=out_layout, actual_seq_lengths=[6, 4], actual_seq_lengths_kv=[7, 9],
        sparse_mode=3, atten_mask=TRIANGLE,
    )  # fmt: skip

    order = {"BNSD": (0, 1, 2, 3), "BNSD_BSND": (0, 2, 1, 3), "BNSD_NBSD": (1, 0, 2, 3)}
    out = out.permute(order[out_layout])
    for b, (rows, tokens) in enumerate([(6, 7), (4, 9)]):
        expected, _ = alone(
            query[b, :, :rows], key[b, :, :tokens], value[b, :, :tokens], causal(rows, tokens)
        )
        torch.testing.assert_close(out[b, :, :rows], expected)
        assert not out[b, :, rows:].any()


def test_a_given_mask_may_be_padded_and_is_causal_by_default() -> None:
    query, key, value = normal(2, 2, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 8)
    mask = normal(2, 1, 16, 32) > 1
    mask[..., 0] = False

    out = prompt_flash_attention(
        query, key, value, num_heads=2, scale_value=SCALE, input_layout="BNSD", atten_mask=mask
    )

    below = torch.arange(7) > torch.arange(5).unsqueeze(1)
    for b in range(2):
        expected, _ = alone(query[b], key[b], value[b], mask[b, :, :5, :7] | below)
        torch.testing.assert_close(out[b], expected)


@pytest.mark.parametrize("shape", [(2, 9), (2, 1, 9), (2, 1, 1, 9)])
def test_decoding_takes_a_mask_row_for_each_sequence(shape: tuple[int, ...]) -> None:
    query, key, value = normal(2, 2, 1, 8), normal(2, 2, 9, 8), normal(2, 2, 9, 8)
    mask = normal(2, 9) > 0.5

    out = incre_flash_attention(
        query, key, value, num_heads=2, scale_value=SCALE, input_layout="BNSD",
        atten_mask=mask.view(shape),
    )  # fmt: skip

    for b in range(2):
        expected, _ = alone(query[b], key[b], value[b], mask[b])
        torch.testing.assert_close(out[b], expected)


def test_one_query_sees_all_keys_whatever_the_compressed_mask_says() -> None:
    query, key, value = normal(1, 2, 1, 8), normal(1, 2, 9, 8), normal(1, 2, 9, 8)

    out, _ = fused_infer_attention_score(
        query, key, value, num_heads=2, scale=SCALE, input_layout="BNSD", sparse_mode=2,
        atten_mask=TRIANGLE,
    )  # fmt: skip

    torch.testing.assert_close(out[0], alone(query[0], key[0], value[0])[0])


def test_padding_on_the_left_moves_the_tokens_in_use() -> None:
    query, key, value = normal(1, 2, 6, 8), normal(1, 2, 9, 8), normal(1, 2, 9, 8)

    out, _ = fused_infer_attention_score(
        query, key, value, num_heads=2, scale=SCALE, input_layout="BNSD",
        actual_seq_lengths=[3], actual_seq_lengths_kv=[4], query_padding_size=torch.tensor([1]),
        kv_padding_size=torch.tensor([2]),
    )  # fmt: skip

    expected, _ = alone(query[0, :, 2:5], key[0, :, 3:7], value[0, :, 3:7])
    torch.testing.assert_close(out[0, :, 2:5], expected)
    assert not out[0, :, [0, 1, 5]].any()


def test_a_shared_prefix_comes_before_every_sequence() -> None:
    query, key, value = normal(2, 2, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 8)
    key_prefix, value_prefix = normal(1, 2, 4, 8), normal(1, 2, 4, 8, seed=1)

    out, _ = fused_infer_attention_score(
        query, key, value, num_heads=2, scale=SCALE, input_layout="BNSD",
        key_shared_prefix=key_prefix, value_shared_prefix=value_prefix,
        actual_shared_prefix_len=[3],
    )  # fmt: skip

    for b in range(2):
        keys = torch.cat([key_prefix[0, :, :3], key[b]], 1)
        values = torch.cat([value_prefix[0, :, :3], value[b]], 1)
        torch.testing.assert_close(out[b], alone(query[b], keys, values)[0])


def test_rotary_parts_of_latent_attention_are_given_apart() -> None:
    query, rope = normal(2, 2, 4, 512), normal(2, 2, 4, 64)
    latent, key_rope = normal(2, 1, 48, 512), normal(2, 1, 48, 64)

    out, _ = fused_infer_attention_score_v2(
        query.transpose(1, 2).contiguous(), in_blocks(latent, "NZ"), in_blocks(latent, "NZ"),
        query_rope=rope.transpose(1, 2).contiguous(), key_rope=in_blocks(key_rope, "NZ"),
        num_query_heads=2, num_key_value_heads=1, softmax_scale=SCALE, input_layout="BSND_NBSD",
        block_table=TABLE, block_size=BLOCK, actual_seq_kvlen=LENGTHS, sparse_mode=3,
        atten_mask=TRIANGLE,
    )  # fmt: skip

    assert out.shape == (2, 2, 4, 512)
    for b, length in enumerate(LENGTHS):
        whole = torch.cat([query[b], rope[b]], -1)
        keys = torch.cat([latent[b, :, :length], key_rope[b, :, :length]], -1)
        expected, _ = alone(whole, keys, latent[b, :, :length], causal(4, length))
        torch.testing.assert_close(out[:, b], expected, rtol=1e-4, atol=1e-5)


def test_a_learnable_sink_takes_a_share() -> None:
    query, key, value, sink = normal(3, 2, 8), normal(5, 2, 8), normal(5, 2, 8), normal(2)

    out, lse = fused_infer_attention_score_v2(
        query, key, value, learnable_sink=sink, num_query_heads=2, softmax_scale=SCALE,
        input_layout="TND", actual_seq_qlen=[3], actual_seq_kvlen=[5], return_softmax_lse=True,
    )  # fmt: skip

    scores = SCALE * torch.einsum("snd,tnd->nst", query, key)
    scores = torch.cat([scores, sink.view(2, 1, 1).expand(2, 3, 1)], -1)
    expected = scores.softmax(-1)[..., :-1] @ value.transpose(0, 1)
    torch.testing.assert_close(out, expected.transpose(0, 1))
    torch.testing.assert_close(lse, scores.logsumexp(-1, keepdim=True).transpose(0, 1))


def test_a_position_bias_is_added_to_scaled_scores() -> None:
    query, key, value = normal(2, 2, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 8)
    bias = normal(1, 2, 3, 32)

    out, _ = fused_infer_attention_score(
        query, key, value, num_heads=2, scale=SCALE, input_layout="BNSD", pse_shift=bias
    )

    for b in range(2):
        expected, _ = alone(query[b], key[b], value[b], extra=bias[0, :, :, :5])
        torch.testing.assert_close(out[b], expected)


def stored(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, generator=generator, dtype=torch.int8)


@pytest.mark.parametrize(
    ("mode", "shape", "spread"),
    [
        (0, (1,), (1, 1, 1, 1)),
        (0, (2, 32), (1, 2, 1, 32)),
        (1, (2, 48), (2, 1, 48, 1)),
        (2, (2,), (1, 2, 1, 1)),
        (3, (2, 2, 48), (2, 2, 48, 1)),
    ],
)
def test_caches_of_int8_have_scales_of_every_kind(
    mode: int, shape: tuple[int, ...], spread: tuple[int, ...]
) -> None:
    query, key, value = normal(2, 4, 1, 32), stored(2, 2, 48, 32), stored(2, 2, 48, 32)
    scale, offset = 0.01 + normal(*shape).abs() / 50, normal(*shape, seed=1)

    out, _ = fused_infer_attention_score(
        query, key, value, num_heads=4, num_key_value_heads=2, scale=SCALE, input_layout="BNSD",
        key_antiquant_scale=scale, key_antiquant_offset=offset, value_antiquant_scale=scale,
        value_antiquant_offset=offset, key_antiquant_mode=mode, value_antiquant_mode=mode,
    )  # fmt: skip

    keys, values = ((t + offset.view(spread)) * scale.view(spread) for t in (key, value))
    for b in range(2):
        torch.testing.assert_close(out[b], alone(query[b], keys[b], values[b])[0])


@pytest.mark.parametrize(("mode", "by_head"), [(4, 1), (5, 2)])
def test_scales_of_tokens_may_lie_in_blocks_too(mode: int, by_head: int) -> None:
    query, key = normal(2, 4, 1, 32), stored(2, 2, 48, 32)
    scale = 0.01 + normal(2, by_head, 48, 1).abs() / 50
    blocks = in_blocks(scale, "BnNBsD").squeeze(-1)
    cache = in_blocks(key, "BnNBsD")

    out, _ = fused_infer_attention_score_v2(
        query, cache, cache, num_query_heads=4, num_key_value_heads=2, softmax_scale=SCALE,
        input_layout="BNSD", block_table=TABLE, block_size=BLOCK, actual_seq_kvlen=LENGTHS,
        dequant_scale_key=blocks if mode == 5 else blocks[:, 0], key_quant_mode=mode,
        dequant_scale_value=blocks if mode == 5 else blocks[:, 0], value_quant_mode=mode,
    )  # fmt: skip

    for b, length in enumerate(LENGTHS):
        tokens = (key * scale)[b, :, :length]
        torch.testing.assert_close(out[b], alone(query[b], tokens, tokens)[0])


def test_one_tensor_of_scales_serves_keys_and_values() -> None:
    query, key, value = normal(2, 1, 64), stored(2, 5, 64), stored(2, 5, 64)
    scale = 0.01 + normal(2, 64).abs() / 50

    out = incre_flash_attention(
        query, key, value, num_heads=2, scale_value=SCALE, antiquant_scale=scale
    )

    for b in range(2):
        tensors = (query[b], key[b] * scale[0], value[b] * scale[1])
        expected, _ = alone(*(t.unflatten(-1, (2, 32)).transpose(0, 1) for t in tensors))
        torch.testing.assert_close(out[b], expected.transpose(0, 1).flatten(1))


def test_eight_numbers_of_four_bits_share_an_int32() -> None:
    numbers = torch.randint(-8, 8, (1, 2, 5, 16), generator=torch.Generator().manual_seed(0))
    packed = (
        ((numbers & 15).unflatten(-1, (2, 8)) << torch.arange(0, 32, 4)).sum(-1).to(torch.int32)
    )
    query = normal(1, 2, 1, 16)

    out, _ = fused_infer_attention_score(
        query, packed, packed, num_heads=2, scale=SCALE, input_layout="BNSD",
        key_antiquant_scale=torch.ones(1), value_antiquant_scale=torch.ones(1),
    )  # fmt: skip

    torch.testing.assert_close(out[0], alone(query[0], numbers[0].float(), numbers[0].float())[0])


def test_the_output_may_be_quantised_by_channel() -> None:
    query, key, value = normal(2, 2, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 8)
    scale, offset = 20 + normal(1, 2, 1, 8), normal(1, 2, 1, 8)

    out, _ = fused_infer_attention_score(
        query, key, value, num_heads=2, scale=SCALE, input_layout="BNSD_BSND", quant_scale2=scale,
        quant_offset2=offset,
    )  # fmt: skip

    assert out.dtype == torch.int8
    for b in range(2):
        expected = alone(query[b], key[b], value[b])[0] * scale[0] + offset[0]
        torch.testing.assert_close(out[b], expected.round().to(torch.int8).transpose(0, 1))


def test_integers_are_multiplied_between_scales() -> None:
    query, key, value = stored(1, 2, 4, 32), stored(1, 2, 6, 32), stored(1, 2, 6, 32)
    first, weights, second = torch.tensor([1e-3]), torch.tensor([127.0]), torch.tensor([2e-3])

    out = prompt_flash_attention(
        query, key, value, num_heads=2, input_layout="BNSD", scale_value=SCALE, deq_scale1=first,
        quant_scale1=weights, deq_scale2=second.view(torch.int32).to(torch.int64),
    )  # fmt: skip

    scores = SCALE * 1e-3 * (query.float() @ key.float().mT)
    grown = (scores - scores.amax(-1, keepdim=True)).exp()
    expected = (127 * grown).round() @ value.float() * 2e-3 / grown.sum(-1, keepdim=True)
    assert out.dtype == torch.float16
    torch.testing.assert_close(out, expected.half(), rtol=2e-3, atol=1e-3)


def test_results_may_be_written_into_memory_made_before() -> None:
    query, key, value = normal(2, 3, 16), normal(2, 5, 16), normal(2, 5, 16)
    options = {"num_heads": 2, "input_layout": "BSH", "softmax_lse_flag": True}

    memory = infer_output(query, value, **options)
    given = fused_infer_attention_score_out(
        query, key, value, scale=SCALE, out=list(memory), **options
    )

    out, lse = fused_infer_attention_score(query, key, value, scale=SCALE, **options)
    assert given[0] is memory[0]
    torch.testing.assert_close(memory[0], out)
    torch.testing.assert_close(memory[1], lse)
    assert lse.shape == (2, 2, 3, 1)


def test_no_keys_give_zeros() -> None:
    query, nothing = normal(1, 2, 3, 8), torch.empty(1, 2, 0, 8)

    out, lse = fused_infer_attention_score(
        query, nothing, nothing, num_heads=2, input_layout="BNSD", softmax_lse_flag=True
    )

    assert not out.any()
    assert lse.isposinf().all()


def test_what_the_chip_does_not_take_is_refused_by_name() -> None:
    query = normal(1, 2, 3, 8)

    with pytest.raises(NotEmulated, match="key_rope_antiquant_scale"):
        fused_infer_attention_score(
            query, query, query, num_heads=2, input_layout="BNSD",
            key_rope_antiquant_scale=torch.ones(1),
        )  # fmt: skip
    with pytest.raises(RuntimeError, match="needs an atten_mask"):
        fused_infer_attention_score(
            query, query, query, num_heads=2, input_layout="BNSD", sparse_mode=3
        )
    with pytest.raises(NotEmulated, match="sparse_mode 9"):
        fused_infer_attention_score_v2(
            query, query, query, num_query_heads=2, input_layout="BNSD", sparse_mode=9
        )
