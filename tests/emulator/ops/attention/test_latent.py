"""npu_mla_prolog against the formulas of latent attention written out."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.latent import (
    mla_prolog,
    mla_prolog_v2,
    mla_prolog_v3,
    mla_prolog_v3_functional,
)

TOKENS, HIDDEN, LOW, HEADS, SIZE, ROPE, RANK = 6, 24, 12, 2, 8, 4, 16
BLOCKS, BLOCK = 3, 4
SLOTS = torch.tensor([7, 0, 3, 11, 5, 2])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def inputs(*rows: int) -> dict[str, Tensor]:
    return {
        "token_x": normal(*rows, HIDDEN),
        "weight_dq": normal(HIDDEN, LOW),
        "weight_uq_qr": normal(LOW, HEADS * (SIZE + ROPE)),
        "weight_uk": normal(HEADS, SIZE, RANK),
        "weight_dkv_kr": normal(HIDDEN, RANK + ROPE),
        "rmsnorm_gamma_cq": normal(LOW),
        "rmsnorm_gamma_ckv": normal(RANK),
        "rope_sin": normal(*rows, ROPE),
        "rope_cos": normal(*rows, ROPE),
    }


def caches(rank: int = RANK) -> tuple[Tensor, Tensor]:
    return torch.zeros(BLOCKS, BLOCK, 1, rank), torch.zeros(BLOCKS, BLOCK, 1, ROPE)


def rms(x: Tensor, gamma: Tensor) -> Tensor:
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), gamma, 1e-5)


def turned(x: Tensor, given: dict[str, Tensor]) -> Tensor:
    """Interleaved pairs, turned as complex numbers; the real parts come first."""
    cos, sin = (
        given[name].view(TOKENS, *[1] * (x.dim() - 2), ROPE) for name in ("rope_cos", "rope_sin")
    )
    half = ROPE // 2
    real, imaginary = x[..., ::2], x[..., 1::2]
    first = real * cos[..., :half] - imaginary * sin[..., :half]
    second = imaginary * cos[..., half:] + real * sin[..., half:]
    return torch.cat([first, second], -1)


def expected(given: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, their rotary part, keys, their rotary part, and the queries' norm."""
    x = given["token_x"].reshape(TOKENS, HIDDEN)
    norm = rms(x @ given["weight_dq"], given["rmsnorm_gamma_cq"])
    wide = (norm @ given["weight_uq_qr"]).view(TOKENS, HEADS, SIZE + ROPE)
    latent = torch.stack([wide[:, n, :SIZE] @ given["weight_uk"][n] for n in range(HEADS)], dim=1)
    low = x @ given["weight_dkv_kr"]
    keys = rms(low[:, :RANK], given["rmsnorm_gamma_ckv"])
    return latent, turned(wide[..., SIZE:], given), keys, turned(low[:, RANK:], given), norm


def close(found: Tensor, want: Tensor, **options: float) -> None:
    torch.testing.assert_close(
        found.float(), want.float(), **(options or {"rtol": 1e-2, "atol": 1e-2})
    )


@pytest.mark.parametrize("rows", [(6,), (2, 3)])
def test_queries_are_made_and_keys_are_cached(rows: tuple[int, ...]) -> None:
    given = inputs(*rows)
    key_cache, rope_cache = caches()
    latent, rope, keys, key_rope, _ = expected(given)

    out = mla_prolog_v2(
        **given, cache_index=SLOTS.view(rows), kv_cache=key_cache, kr_cache=rope_cache
    )

    assert out[2] is key_cache
    assert out[3] is rope_cache
    assert out[4].shape == (1,)
    torch.testing.assert_close(out[0], latent.view(*rows, HEADS, RANK), rtol=1e-4, atol=1e-4)
    close(out[1], rope.view(*rows, HEADS, ROPE))
    torch.testing.assert_close(key_cache.view(-1, RANK)[SLOTS], keys, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rope_cache.view(-1, ROPE)[SLOTS], key_rope, rtol=1e-4, atol=1e-4)
    assert not key_cache.view(-1, RANK)[[1, 4, 6, 8, 9, 10]].any()


def test_the_first_version_gives_no_scale() -> None:
    given = inputs(6)

    out = mla_prolog(**given, cache_index=SLOTS, kv_cache=caches()[0], kr_cache=caches()[1])

    assert len(out) == 4


def test_a_cache_may_have_the_fractal_order() -> None:
    given = inputs(6)
    key_cache, rope_cache = (
        torch.zeros(BLOCKS, BLOCK, 1, RANK).half(),
        torch.zeros(BLOCKS, BLOCK, 1, 16).half(),
    )
    given |= {name: normal(6, 16) for name in ("rope_sin", "rope_cos")}
    given |= {
        "weight_uq_qr": normal(LOW, HEADS * (SIZE + 16)),
        "weight_dkv_kr": normal(HIDDEN, RANK + 16),
    }

    mla_prolog_v2(
        **given, cache_index=SLOTS, kv_cache=key_cache, kr_cache=rope_cache, cache_mode="PA_NZ"
    )

    keys = rms((given["token_x"] @ given["weight_dkv_kr"])[:, :RANK], given["rmsnorm_gamma_ckv"])
    fractal = key_cache.view(BLOCKS, RANK // 16, BLOCK, 16)
    for token, slot in enumerate(SLOTS.tolist()):
        close(fractal[slot // BLOCK, :, slot % BLOCK].flatten(), keys[token])


def test_keys_are_quantised_by_channel_into_a_cache_of_int8() -> None:
    given = inputs(6)
    key_cache, rope_cache = (cache.to(torch.int8) for cache in caches())
    scale, rope_scale = 20 + normal(1, RANK), 20 + normal(1, ROPE)

    mla_prolog_v2(
        **given, cache_index=SLOTS, kv_cache=key_cache, kr_cache=rope_cache,
        quant_scale_ckv=scale, quant_scale_ckr=rope_scale,
    )  # fmt: skip

    _, _, keys, key_rope, _ = expected(given)
    want = (keys * scale).round().clamp(-128, 127)
    assert (key_cache.view(-1, RANK)[SLOTS].float() - want).abs().max() <= 1
    want = (key_rope * rope_scale).round().clamp(-128, 127)
    assert (rope_cache.view(-1, ROPE)[SLOTS].float() - want).abs().max() <= 1


def as_int8(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    scale = x.abs().amax(axis, keepdim=True) / 127
    return (x / scale).round().to(torch.int8), scale


def test_weights_of_int8_are_taken_with_their_scales() -> None:
    given = inputs(6)
    plain = expected(given)
    x, x_scale = as_int8(given["token_x"], 1)
    scales = {"dequant_scale_x": x_scale, "smooth_scales_cq": torch.ones(1, LOW)}
    for name in ("dq", "uq_qr", "dkv_kr"):
        given[f"weight_{name}"], scales[f"dequant_scale_w_{name}"] = as_int8(
            given[f"weight_{name}"], 0
        )
    given["token_x"] = x
    key_cache, rope_cache = caches()

    out = mla_prolog_v3(
        **given, kv_cache=key_cache, kr_cache=rope_cache, cache_index=SLOTS, **scales,
        weight_quant_mode=2, query_norm_flag=True,
    )  # fmt: skip

    assert out[3].dtype == torch.int8
    close(out[0], plain[0], rtol=0.1, atol=2.0)
    close(out[3].float() * out[4], plain[4], rtol=0.1, atol=0.1)
    close(key_cache.view(-1, RANK)[SLOTS], plain[2], rtol=0.1, atol=0.1)


def test_the_third_version_scales_and_gives_the_norm() -> None:
    given = inputs(6)
    latent, rope, keys, _, norm = expected(given)
    key_cache, rope_cache = caches()

    out = mla_prolog_v3(
        **given, kv_cache=key_cache, kr_cache=rope_cache, cache_index=SLOTS, qc_qr_scale=2.0,
        kc_scale=0.5, query_norm_flag=True,
    )  # fmt: skip

    assert out[0].dtype == torch.bfloat16
    close(out[0], 2 * latent, rtol=2e-2, atol=2e-2)
    close(out[1], 2 * rope)
    assert out[2] is None
    assert out[4] is None
    torch.testing.assert_close(out[3], 2 * norm, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(key_cache.view(-1, RANK)[SLOTS], 0.5 * keys, rtol=1e-4, atol=1e-4)


def test_the_functional_version_leaves_its_caches_alone() -> None:
    given = inputs(6)
    key_cache, rope_cache = caches()

    out = mla_prolog_v3_functional(
        **given, kv_cache=key_cache, kr_cache=rope_cache, cache_index=SLOTS
    )

    assert not key_cache.any()
    torch.testing.assert_close(
        out[5].view(-1, RANK)[SLOTS], expected(given)[2], rtol=1e-4, atol=1e-4
    )


def test_whole_blocks_may_be_named_for_each_sequence() -> None:
    given = inputs(6)
    key_cache, rope_cache = caches()

    mla_prolog_v3(
        **given, kv_cache=key_cache, kr_cache=rope_cache, cache_index=torch.tensor([2, 0, 1]),
        cache_mode="PA_BLK_BSND", actual_seq_len=torch.tensor([5, 6]),
    )  # fmt: skip

    slots = torch.tensor([8, 9, 10, 11, 0, 4])
    torch.testing.assert_close(
        key_cache.view(-1, RANK)[slots], expected(given)[2], rtol=1e-4, atol=1e-4
    )


def test_scales_inside_the_cache_are_refused() -> None:
    key_cache, rope_cache = caches()

    with pytest.raises(NotEmulated, match="kv_cache_quant_mode 3"):
        mla_prolog_v3(
            **inputs(6), kv_cache=key_cache, kr_cache=rope_cache, cache_index=SLOTS,
            kv_cache_quant_mode=3,
        )  # fmt: skip
