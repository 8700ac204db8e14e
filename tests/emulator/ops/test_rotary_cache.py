"""Fused norm, rotation and cache update, against loops over tokens."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import rotary as rotary
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    assert isinstance(found, tuple)
    return found


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def latent(batch: int, tokens: int) -> dict[str, Tensor]:
    """Inputs of the fused kv operator: a part of 32 to normalise and one of 16 to rotate."""
    return {
        "kv": torch.randn(batch, 1, tokens, 48).half(),
        "gamma": torch.rand(32).half(),
        "cos": torch.rand(batch, 1, tokens, 16).half(),
        "sin": torch.rand(batch, 1, tokens, 16).half(),
    }


def expected_rows(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    kv = inputs["kv"].float()
    c = F.rms_norm(kv[..., :32], (32,), inputs["gamma"].float(), 1e-5)
    head = torch.cat((kv[..., 32::2], kv[..., 33::2]), -1)
    return turned(head, inputs["cos"].float(), inputs["sin"].float()), c


def test_a_plain_cache_is_written_at_each_samples_offsets() -> None:
    inputs = latent(2, 3)
    index = torch.tensor([[4, 0, 2], [1, -1, 3]])
    k_cache, c_cache = torch.full((2, 1, 5, 16), 9.0).half(), torch.full((2, 1, 5, 32), 9.0).half()
    found = run(
        "npu_kv_rmsnorm_rope_cache", *inputs.values(), index, k_cache, c_cache, is_output_kv=True
    )
    k, c = expected_rows(inputs)
    torch.testing.assert_close(found[2:], (k.half(), c.half()), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(found[:2], (k_cache, c_cache))
    for sample in range(2):
        for token in range(3):
            slot = int(index[sample, token])
            if slot >= 0:
                assert torch.equal(k_cache[sample, 0, slot], found[2][sample, 0, token])
                assert torch.equal(c_cache[sample, 0, slot], found[3][sample, 0, token])
    assert bool((k_cache[0, 0, 1] == 9).all())


@pytest.mark.parametrize("mode", ["PA", "PA_BNSD", "PA_NZ", "PA_BLK_BNSD", "PA_BLK_NZ"])
def test_a_paged_cache_is_written_in_its_layout(mode: str) -> None:
    inputs = latent(2, 6)
    blocks, size = 5, 4
    by_block = "BLK" in mode
    index = torch.tensor([8, 16, 0, 4]) if by_block else torch.randperm(20)[:12]
    caches = [torch.full((blocks, size, 1, d), 9.0).half() for d in (16, 32)]
    rows = run(
        "npu_kv_rmsnorm_rope_cache",
        *inputs.values(),
        index,
        *caches,
        cache_mode=mode,
        is_output_kv=True,
    )[2:]
    for cache, row in zip(caches, rows, strict=True):
        width = cache.shape[-1]
        for sample in range(2):
            for token in range(6):
                slot = int(
                    index[sample * 2 + token // size] + token % size
                    if by_block
                    else index[sample * 6 + token]
                )
                block, place = divmod(slot, size)
                if mode.endswith("NZ"):
                    pages = cache.reshape(blocks, width // 16, size, 16)
                    stored = pages[block, :, place].flatten()
                else:
                    stored = cache[block, place, 0]
                assert torch.equal(stored, row[sample, 0, token])


def test_a_quantised_cache_holds_scaled_integers() -> None:
    inputs = latent(1, 2)
    caches = [torch.zeros(1, 4, 1, d, dtype=torch.int8) for d in (32, 32)]
    inputs["kv"] = torch.randn(1, 1, 2, 64).half()
    inputs["cos"], inputs["sin"] = torch.rand(1, 1, 2, 32).half(), torch.rand(1, 1, 2, 32).half()
    scales = torch.rand(32) * 50, torch.rand(32) * 50
    run(
        "npu_kv_rmsnorm_rope_cache",
        *inputs.values(),
        torch.tensor([3, 1]),
        *caches,
        k_rope_scale=scales[0],
        c_kv_scale=scales[1],
        cache_mode="PA_BNSD",
    )
    for cache, rows, scale in zip(caches, expected_rows(inputs), scales, strict=True):
        expected = torch.round(rows[0, 0] * scale).clamp(-128, 127)
        assert (cache[0, [3, 1], 0] - expected).abs().max() <= 1


def test_values_of_their_own_are_cached_as_they_are() -> None:
    inputs = latent(1, 2) | {"gamma": torch.rand(48).half()}
    values = torch.randn(1, 1, 2, 8).half()
    k_cache, v_cache = torch.zeros(1, 2, 1, 48).half(), torch.zeros(1, 2, 1, 8).half()
    arguments = (*inputs.values(), torch.tensor([0, 1]), k_cache, v_cache)
    run("npu_kv_rmsnorm_rope_cache_v2", *arguments, v=values, cache_mode="PA")
    normed = F.rms_norm(inputs["kv"].float(), (48,), inputs["gamma"].float(), 1e-5)
    head = torch.cat((normed[..., :16:2], normed[..., 1:16:2]), -1)
    head = turned(head, inputs["cos"].float(), inputs["sin"].float())
    expected = torch.cat((head, normed[..., 16:]), -1).half()
    torch.testing.assert_close(k_cache.view(2, 48), expected.view(2, 48), atol=4e-3, rtol=4e-3)
    torch.testing.assert_close(v_cache.view(2, 8), values.view(2, 8))


def test_the_functional_form_leaves_its_arguments_alone() -> None:
    inputs = latent(1, 2)
    caches = [torch.zeros(1, 2, 1, d).half() for d in (16, 32)]
    arguments = (*inputs.values(), torch.tensor([0, 1]), *caches)
    found = run("npu_kv_rmsnorm_rope_cache_v2_functional", *arguments, cache_mode="PA")
    assert not caches[0].any()
    assert bool(found[2].any())
    assert bool(found[3].any())


def test_a_cache_mode_that_is_not_emulated_is_named() -> None:
    inputs = latent(1, 2)
    caches = [torch.zeros(1, 2, 1, d).half() for d in (16, 32)]
    with pytest.raises(NotEmulated, match="PA_XY"):
        run(
            "npu_kv_rmsnorm_rope_cache",
            *inputs.values(),
            torch.arange(2),
            *caches,
            cache_mode="PA_XY",
        )


def test_queries_keys_and_values_go_to_their_places() -> None:
    tokens, heads, d = 4, (2, 1, 1), 64
    qkv = torch.randn(tokens, sum(heads) * d).half()
    q_gamma, k_gamma = torch.rand(d).half(), torch.rand(d).half()
    cos, sin = torch.rand(tokens, d).half(), torch.rand(tokens, d).half()
    q_out = torch.zeros(tokens, heads[0] * d).half()
    caches = [torch.zeros(3, d // 32, 4, 32, dtype=torch.int8) for _ in range(2)]
    scales = [torch.rand(1, d) + 0.05 for _ in range(2)]
    index = torch.tensor([5, -1, 0, 11])
    q, k, v = run(
        "npu_qkv_rms_norm_rope_cache",
        qkv,
        q_gamma,
        k_gamma,
        cos,
        sin,
        index,
        q_out,
        *caches,
        [1, tokens, sum(heads), d],
        list(heads),
        k_scale=scales[0],
        v_scale=scales[1],
        is_output_qkv=True,
    )
    parts = qkv.float().view(tokens, 4, d)
    angles = cos.float().unsqueeze(1), sin.float().unsqueeze(1)
    expected_q = turned(F.rms_norm(parts[:, :2], (d,), q_gamma.float(), 1e-6), *angles)
    torch.testing.assert_close(q, expected_q.flatten(1).half(), atol=4e-3, rtol=4e-3)
    torch.testing.assert_close(q_out, q)
    assert torch.equal(v, qkv[:, -d:])
    for cache, rows, scale in zip(caches, (k, v), scales, strict=True):
        for token, slot in enumerate(index.tolist()):
            if slot >= 0:
                stored = cache[slot // 4, :, slot % 4].flatten()
                whole = torch.round(rows[token].float() / scale[0]).clamp(-128, 127)
                assert (stored - whole).abs().max() <= 1


@pytest.mark.parametrize("mode", ["contiguous", "page"])
def test_rotated_keys_and_values_are_cached_quantised(mode: str) -> None:
    batch, tokens, d = 2, 3, 8
    x = torch.randn(batch, tokens, 4 * d).half()
    cos, sin = torch.rand(batch, tokens, 1, d).half(), torch.rand(batch, tokens, 1, d).half()
    caches = [torch.zeros(batch, 6, 1, d, dtype=torch.int8) for _ in range(2)]
    scales = [torch.rand(d) * 20 for _ in range(2)]
    offset = torch.rand(d)
    starts = torch.tensor([2, 0], dtype=torch.int32)
    slots = torch.tensor([7, 1, 2, 3, 11, 0], dtype=torch.int32)
    index = starts if mode == "contiguous" else slots
    q, k, v, *_ = run(
        "npu_rope_quant_kvcache",
        x,
        cos,
        sin,
        *caches,
        index,
        *scales,
        [2 * d, d, d],
        offset_k=offset,
        kv_output=True,
        cache_mode=mode,
    )
    heads = x.float().view(batch, tokens, 4, d)
    torch.testing.assert_close(
        q, turned(heads[:, :, :2], cos.float(), sin.float()).half(), atol=2e-3, rtol=2e-3
    )
    exact = turned(heads[:, :, 2:3], cos.float(), sin.float())
    torch.testing.assert_close(k, exact.half(), atol=2e-3, rtol=2e-3)
    rows = [exact * scales[0] + offset, heads[:, :, 3:] * scales[1]]
    for cache, row in zip(caches, rows, strict=True):
        whole = torch.round(row).clamp(-128, 127)
        if mode == "contiguous":
            stored = torch.stack([cache[b, s : s + tokens] for b, s in enumerate((2, 0))])
        else:
            stored = cache.view(-1, 1, d)[slots.long()].view(whole.shape)
        assert (stored - whole).abs().max() <= 1
    assert v.shape == (batch, tokens, 1, d)


def test_an_int32_product_is_dequantised_before_it_is_rotated() -> None:
    d = 4
    x = torch.randint(-500, 500, (1, 2, 3 * d), dtype=torch.int32)
    cos, sin = torch.rand(1, 2, 1, d), torch.rand(1, 2, 1, d)
    weight_scale, rows = torch.rand(3 * d), torch.rand(2)
    bias = torch.randint(-50, 50, (3 * d,), dtype=torch.int32)
    caches = [torch.zeros(1, 2, 1, d, dtype=torch.int8) for _ in range(2)]
    index, scale = torch.tensor([0], dtype=torch.int32), torch.ones(d)
    q, *_ = run(
        "npu_dequant_rope_quant_kvcache",
        x,
        cos,
        sin,
        *caches,
        index,
        scale,
        scale,
        [d, d, d],
        weight_scale=weight_scale,
        activation_scale=rows,
        bias=bias,
    )
    real = (x + bias) * weight_scale * rows.view(1, 2, 1)
    torch.testing.assert_close(q, turned(real[..., :d].unsqueeze(2), cos, sin))
