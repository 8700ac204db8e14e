"""npu_fusion_attention against PyTorch's attention with masks written out, forward and backward."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from cordee.emulator.ops.attention.fusion_gradients import (
    fusion_attention_grad,
    fusion_attention_grad_v2,
    fusion_attention_grad_v3,
)
from cordee.emulator.ops.attention.fusion_operators import (
    fusion_attention,
    fusion_attention_v2,
    fusion_attention_v3,
)
from cordee.emulator.ops.reference import REFERENCES

SCALE = 0.3
TRIANGLE = torch.ones(2048, 2048, dtype=torch.bool).triu(1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def seen(queries: int, keys: int, rule: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return rule(torch.arange(queries).unsqueeze(1), torch.arange(keys))


def repeated(tensor: Tensor, heads: int) -> Tensor:
    return tensor.repeat_interleave(heads // tensor.shape[1], dim=1)


def expected(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    key, value = repeated(key, query.shape[1]), repeated(value, query.shape[1])
    return sdpa(query, key, value, attn_mask=mask, scale=SCALE)


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    by_layout = {
        "BNSD": tensor,
        "BSND": tensor.transpose(1, 2),
        "BSH": tensor.transpose(1, 2).flatten(2),
        "SBH": tensor.permute(2, 0, 1, 3).flatten(2),
    }
    return by_layout[layout].contiguous()


@pytest.mark.parametrize("layout", ["BNSD", "BSND", "BSH", "SBH"])
def test_every_layout_gives_the_same_attention(layout: str) -> None:
    query, key, value = normal(2, 4, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 6)

    inputs = (laid_out(tensor, layout) for tensor in (query, key, value))
    out, maximum, total, reserved, *_ = fusion_attention(*inputs, 4, layout, scale=SCALE)

    torch.testing.assert_close(out, laid_out(expected(query, key, value), layout))
    assert maximum.shape == total.shape == (2, 4, 5, 8)
    assert reserved.shape == (0,)
    scores = SCALE * query @ repeated(key, 4).mT
    torch.testing.assert_close(maximum[..., 3] + total[..., 5].log(), scores.logsumexp(-1))


@pytest.mark.parametrize(
    ("mode", "before", "after", "rule"),
    [
        (2, 0, 0, lambda i, j: j <= i),
        (3, 0, 0, lambda i, j: j <= i + 3),
        (4, 2, 1, lambda i, j: (j - i - 3 >= -2) & (j - i - 3 <= 1)),
    ],
)
def test_a_compressed_triangle_stands_for_the_whole_mask(
    mode: int, before: int, after: int, rule: Callable[[Tensor, Tensor], Tensor]
) -> None:
    query, key, value = normal(1, 2, 6, 8), normal(1, 2, 9, 8), normal(1, 2, 9, 8)

    out = fusion_attention(
        query, key, value, 2, "BNSD", scale=SCALE, atten_mask=TRIANGLE, sparse_mode=mode,
        pre_tockens=before, next_tockens=after,
    )[0]  # fmt: skip

    torch.testing.assert_close(out, expected(query, key, value, seen(6, 9, rule)))


def test_a_given_mask_and_a_window_both_hide() -> None:
    query, key, value = normal(2, 2, 6, 8), normal(2, 2, 6, 8), normal(2, 2, 6, 8)
    mask = normal(2, 1, 6, 6) > 1
    mask.diagonal(dim1=-2, dim2=-1).fill_(False)

    out = fusion_attention(
        query, key, value, 2, "BNSD", scale=SCALE, atten_mask=mask, pre_tockens=2, next_tockens=0
    )[0]

    window = seen(6, 6, lambda i, j: (j <= i) & (j >= i - 2))
    torch.testing.assert_close(out, expected(query, key, value, window & ~mask))


def test_a_window_without_a_mask_hides_nothing() -> None:
    query, key, value = normal(1, 2, 6, 8), normal(1, 2, 6, 8), normal(1, 2, 6, 8)

    out = fusion_attention(query, key, value, 2, "BNSD", scale=SCALE, next_tockens=0)[0]

    torch.testing.assert_close(out, expected(query, key, value))


def test_a_prefix_is_seen_by_all_queries() -> None:
    query, key, value = normal(2, 2, 6, 8), normal(2, 2, 6, 8), normal(2, 2, 6, 8)
    below = torch.arange(2048).expand(1024, 2048) >= 1024

    out = fusion_attention(
        query, key, value, 2, "BNSD", scale=SCALE, atten_mask=torch.cat([TRIANGLE, below]),
        sparse_mode=6, prefix=[2, 4],
    )[0]  # fmt: skip

    masks = [seen(6, 6, lambda i, j, n=n: (j <= i) | (j < n)) for n in (2, 4)]
    torch.testing.assert_close(out, expected(query, key, value, torch.stack(masks).unsqueeze(1)))


def test_a_row_that_sees_no_key_gives_zeros() -> None:
    query, key, value = normal(1, 1, 5, 8), normal(1, 1, 3, 8), normal(1, 1, 3, 8)

    out = fusion_attention(
        query, key, value, 1, "BNSD", scale=SCALE, atten_mask=TRIANGLE, sparse_mode=3
    )[0]

    assert not out[0, 0, :2].any()
    torch.testing.assert_close(
        out[..., 2:, :],
        expected(query, key, value, seen(5, 3, lambda i, j: j <= i - 2))[..., 2:, :],
    )


def test_a_mask_that_is_no_triangle_is_refused() -> None:
    query = normal(1, 1, 4, 8)

    with pytest.raises(RuntimeError, match="not the triangle"):
        fusion_attention(query, query, query, 1, "BNSD", atten_mask=~TRIANGLE, sparse_mode=3)
    with pytest.raises(RuntimeError, match=r"must be \(2048, 2048\)"):
        fusion_attention(query, query, query, 1, "BNSD", atten_mask=TRIANGLE[:4, :4], sparse_mode=3)


@pytest.mark.parametrize(
    ("kind", "added"), [(0, lambda s, p: SCALE * s + p), (1, lambda s, p: SCALE * (s + p))]
)
def test_a_position_bias_is_added_before_or_after_scaling(
    kind: int, added: Callable[[Tensor, Tensor], Tensor]
) -> None:
    query, key, value, pse = (
        normal(2, 3, 4, 8),
        normal(2, 3, 5, 8),
        normal(2, 3, 5, 8),
        normal(1, 3, 4, 5),
    )

    out = fusion_attention_v2(query, key, value, 3, "BNSD", pse=pse, scale=SCALE, pse_type=kind)[0]

    torch.testing.assert_close(out, added(query @ key.mT, pse).softmax(-1) @ value)


@pytest.mark.parametrize(("kind", "grown"), [(2, lambda d: d), (3, torch.sqrt)])
def test_alibi_is_made_from_slopes(kind: int, grown: Callable[[Tensor], Tensor]) -> None:
    query, key, value = normal(1, 2, 4, 8), normal(1, 2, 7, 8), normal(1, 2, 7, 8)
    slopes = torch.tensor([0.5, 0.25])

    out = fusion_attention_v2(
        query, key, value, 2, "BNSD", pse=slopes, scale=SCALE, pse_type=kind, q_start_idx=[5],
        kv_start_idx=[1],
    )[0]  # fmt: skip

    distance = (torch.arange(7) + 1 - (torch.arange(4).unsqueeze(1) + 5)).abs().float()
    bias = -slopes.view(1, 2, 1, 1) * grown(distance)
    torch.testing.assert_close(out, expected(query, key, value, bias))


def test_a_compressed_alibi_bias_stands_for_the_whole() -> None:
    length = 2100
    query, key, value = (normal(1, 1, length, 4, seed=s) for s in range(3))
    distance = torch.arange(length) - torch.arange(length).unsqueeze(1)
    bias = 0.01 * distance.float().view(1, 1, length, length)

    out = fusion_attention(
        query, key, value, 1, "BNSD", pse=bias[:, :, -1024:], scale=SCALE, atten_mask=TRIANGLE,
        sparse_mode=2,
    )[0]  # fmt: skip

    causal = bias.masked_fill(distance > 0, -torch.inf)
    torch.testing.assert_close(
        out, expected(query, key, value, SCALE * causal), rtol=1e-4, atol=1e-5
    )


def test_a_sink_takes_a_share_of_the_softmax() -> None:
    query, key, value, sink = normal(2, 3, 4, 8), normal(2, 3, 5, 8), normal(2, 3, 5, 8), normal(3)

    out = fusion_attention(query, key, value, 3, "BNSD", scale=SCALE, sink=sink)[0]

    column = sink.view(1, 3, 1, 1).expand(2, 3, 4, 1)
    weights = torch.cat([SCALE * query @ key.mT, column], dim=-1).softmax(-1)[..., :-1]
    torch.testing.assert_close(out, weights @ value)


QUERY_ENDS, KEY_ENDS = [2, 2, 5, 9], [3, 5, 9, 15]


@pytest.mark.parametrize("layout", ["TND", ""])
def test_sequences_in_a_row_attend_to_themselves_only(layout: str) -> None:
    query, key, value = normal(9, 4, 8), normal(15, 2, 8), normal(15, 2, 6)

    out, maximum, *_ = fusion_attention(
        query, key, value, 4, "TND", scale=SCALE, actual_seq_qlen=QUERY_ENDS,
        actual_seq_kvlen=KEY_ENDS, atten_mask=TRIANGLE, sparse_mode=3, softmax_layout=layout,
    )[:3]  # fmt: skip

    flat = []
    for q0, q1, k0, k1 in zip([0, 2, 2, 5], QUERY_ENDS, [0, 3, 5, 9], KEY_ENDS, strict=True):
        rows, keys = query[q0:q1].transpose(0, 1), key[k0:k1].transpose(0, 1)
        mask = seen(q1 - q0, k1 - k0, lambda i, j, d=k1 - k0 - q1 + q0: j <= i + d)
        alone = expected(rows[None], keys[None], value[k0:k1].transpose(0, 1)[None], mask)
        torch.testing.assert_close(out[q0:q1], alone[0].transpose(0, 1))
        scores = SCALE * rows @ keys.repeat_interleave(2, 0).mT
        best = scores.masked_fill(~mask, -torch.inf).amax(-1)
        flat.append((best if layout == "" else best.T).flatten().repeat_interleave(8))
    torch.testing.assert_close(maximum.flatten(), torch.cat(flat))


@pytest.mark.parametrize(
    ("mode", "before", "after", "banded"), [(7, 6, -2, slice(4, 9)), (8, 4, 1, slice(0, 4))]
)
def test_a_sequence_cut_across_chips_is_banded(
    mode: int, before: int, after: int, banded: slice
) -> None:
    query, key, value = normal(9, 1, 8), normal(15, 1, 8), normal(15, 1, 8)

    out = fusion_attention(
        query, key, value, 1, "TND", scale=SCALE, actual_seq_qlen=[4, 9],
        actual_seq_kvlen=[6, 15], atten_mask=TRIANGLE, sparse_mode=mode, pre_tockens=before,
        next_tockens=after,
    )[0]  # fmt: skip

    for rows, keys in ((slice(0, 4), slice(0, 6)), (slice(4, 9), slice(6, 15))):
        queries, count = rows.stop - rows.start, keys.stop - keys.start
        i, j = torch.arange(queries).unsqueeze(1), torch.arange(count)
        ahead = j - i - (count - queries if rows == banded or mode == 7 else 0)
        mask = (ahead >= -before) & (ahead <= after) if rows == banded else ahead <= 0
        sides = (query[rows], key[keys], value[keys])
        alone = expected(*(side.transpose(0, 1)[None] for side in sides), mask)
        seen_rows = mask.any(-1)
        torch.testing.assert_close(out[rows][seen_rows], alone[0].transpose(0, 1)[seen_rows])
        assert not out[rows][~seen_rows].any()


def test_the_gradient_is_that_of_written_out_attention() -> None:
    query, key, value = (
        t.requires_grad_() for t in (normal(2, 4, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 6))
    )
    pse, sink = normal(1, 4, 5, 7).requires_grad_(), normal(4).requires_grad_()
    mask, grad = seen(5, 7, lambda i, j: j <= i + 2), normal(2, 4, 5, 6)
    scores = SCALE * (query @ repeated(key, 4).mT + pse)
    scores = scores.masked_fill(~mask, -torch.inf)
    weights = torch.cat([scores, sink.view(1, 4, 1, 1).expand(2, 4, 5, 1)], dim=-1).softmax(-1)
    wanted = torch.autograd.grad(
        weights[..., :-1] @ repeated(value, 4), (query, key, value, pse, sink), grad
    )
    options = {"pse": pse.detach(), "sink": sink.detach(), "atten_mask": TRIANGLE, "sparse_mode": 3}

    inputs = (query.detach(), key.detach(), value.detach())
    out, maximum, total, *_ = fusion_attention(*inputs, 4, "BNSD", scale=SCALE, **options)
    found = fusion_attention_grad(
        *inputs, grad, 4, "BNSD", scale_value=SCALE, softmax_max=maximum, softmax_sum=total,
        attention_in=out, **options,
    )  # fmt: skip

    for gradient, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["TND", ""])
def test_packed_sequences_and_rotary_parts_have_gradients(layout: str) -> None:
    shapes = [(9, 4, 8), (15, 2, 8), (15, 2, 6), (9, 4, 3), (15, 2, 3)]
    query, key, value, query_rope, key_rope = (normal(*s).requires_grad_() for s in shapes)
    grad = normal(9, 4, 6)
    whole, keys = torch.cat([query, query_rope], -1), torch.cat([key, key_rope], -1)
    parts = []
    for q0, q1, k0, k1 in zip([0, 2, 2, 5], QUERY_ENDS, [0, 3, 5, 9], KEY_ENDS, strict=True):
        rows = (t.transpose(0, 1)[None] for t in (whole[q0:q1], keys[k0:k1], value[k0:k1]))
        parts.append(expected(*rows)[0].transpose(0, 1))
    inputs = (query, key, value, query_rope, key_rope)
    wanted = torch.autograd.grad(torch.cat(parts), inputs, grad)
    q, k, v, qr, kr = (tensor.detach() for tensor in inputs)
    options = {
        "query_rope": qr, "key_rope": kr, "actual_seq_qlen": QUERY_ENDS,
        "actual_seq_kvlen": KEY_ENDS, "softmax_layout": layout,
    }  # fmt: skip

    out, maximum, total, *_ = fusion_attention_v2(q, k, v, 4, "TND", scale=SCALE, **options)
    found = fusion_attention_grad_v2(
        q, k, v, grad, 4, "TND", scale_value=SCALE, softmax_max=maximum, softmax_sum=total,
        attention_in=out, **options,
    )  # fmt: skip

    torch.testing.assert_close(out, torch.cat(parts).detach())
    for index, want in zip((0, 1, 2, 4, 5), wanted, strict=True):
        torch.testing.assert_close(found[index], want, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_part_of_the_keys_adds_up_to_the_whole() -> None:
    query, key, value = normal(1, 2, 4, 8), normal(1, 2, 6, 8), normal(1, 2, 6, 8)
    grad = normal(1, 2, 4, 8, seed=9)
    out, maximum, total, *_ = fusion_attention(query, key, value, 2, "BNSD", scale=SCALE)
    saved = {
        "softmax_max": maximum,
        "softmax_sum": total,
        "attention_in": out,
        "scale_value": SCALE,
    }

    whole = fusion_attention_grad(query, key, value, grad, 2, "BNSD", **saved)
    parts = [
        fusion_attention_grad(query, key[:, :, s], value[:, :, s], grad, 2, "BNSD", **saved)
        for s in (slice(0, 3), slice(3, 6))
    ]

    torch.testing.assert_close(parts[0][0] + parts[1][0], whole[0])
    torch.testing.assert_close(torch.cat([part[1] for part in parts], 2), whole[1])


def packed_bits(kept: Tensor) -> Tensor:
    bits = kept.flatten().view(-1, 8).to(torch.uint8)
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(-1, dtype=torch.uint8)


def test_a_given_dropout_mask_is_read_from_its_lowest_bits() -> None:
    query, key, value = normal(1, 2, 4, 8), normal(1, 2, 4, 8), normal(1, 2, 4, 8)
    kept = normal(1, 2, 4, 4) > -0.5

    out, *_, count = fusion_attention(
        query, key, value, 2, "BNSD", scale=SCALE, keep_prob=0.7, dropout_mask=packed_bits(kept)
    )

    weights = (SCALE * query @ key.mT).softmax(-1) * kept / 0.7
    torch.testing.assert_close(out, weights @ value)
    assert count == 32


def test_half_precision_is_rounded_once() -> None:
    query, key, value = (normal(1, 2, 5, 8, seed=s).half() for s in range(3))

    out = fusion_attention_v3(query, key, value, 2, "BNSD", scale=SCALE)[0]

    assert out.dtype == torch.float16
    assert out.equal(expected(query.float(), key.float(), value.float()).half())


def test_v3_takes_and_gives_its_numbers_as_tensors() -> None:
    query, key, value, grad = (normal(7, 2, 8, seed=s) for s in range(4))
    ends = torch.tensor([3, 7])

    out, maximum, total, _, seed, offset = fusion_attention_v3(
        query, key, value, 2, "TND", scale=SCALE, actual_seq_qlen=ends, actual_seq_kvlen=ends
    )
    found = fusion_attention_grad_v3(
        query, key, value, grad, 2, "TND", scale_value=SCALE, actual_seq_qlen=ends,
        actual_seq_kvlen=ends, softmax_max=maximum, softmax_sum=total, attention_in=out,
        seed=seed, offset=offset,
    )  # fmt: skip

    assert seed.shape == offset.shape == (1,)
    assert found[3] is None
    assert [tensor.shape for tensor in found[:3]] == [query.shape] * 3


def test_autograd_runs_the_gradient_operator() -> None:
    query, key, value, grad = (normal(1, 2, 4, 8, seed=s) for s in range(4))
    arguments = (query, key, value, 2, "BNSD", None, None, None, SCALE, 1.0, 2**31 - 1, 2**31 - 1,
                 0, None, None, None, 0, True, False, "", None, None, 0, 0)  # fmt: skip
    reference = REFERENCES["npu::npu_fusion_attention"]

    outputs = reference.function(*arguments)
    found = reference.gradient(arguments, outputs, (grad, None, None, None, None, None, None))

    leaves = [t.clone().requires_grad_() for t in (query, key, value)]
    wanted = torch.autograd.grad(expected(*leaves), leaves, grad)
    assert len(found) == len(arguments)
    assert all(gradient is None for gradient in found[3:])
    for gradient, want in zip(found[:3], wanted, strict=True):
        torch.testing.assert_close(gradient, want)
