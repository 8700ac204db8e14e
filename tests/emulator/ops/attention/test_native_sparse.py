"""Native sparse attention against loops over blocks, queries and heads."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.native_sparse import (
    compress,
    compress_attention,
    compress_attention_gradient,
    compress_grad,
    select_attention,
    select_attention_grad,
)
from cordee.emulator.ops.attention.native_sparse_inference import (
    compress_attention_infer,
    compress_infer,
    select_attention_infer,
)

SCALE = 0.3


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def softmax(query: Tensor, key: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Weights [N, Sq, Skv] of [S, N, D]."""
    keys = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    scores = SCALE * torch.einsum("snd,tnd->nst", query, keys)
    return (scores if hidden is None else scores.masked_fill(hidden, -torch.inf)).softmax(-1)


def weighted(weights: Tensor, value: Tensor) -> Tensor:
    values = value.repeat_interleave(weights.shape[0] // value.shape[1], 1)
    return torch.einsum("nst,tnd->snd", weights, values)


def test_blocks_of_tokens_are_compressed_and_have_gradients() -> None:
    tokens, weight = normal(20, 2, 3).requires_grad_(), normal(4, 2).requires_grad_()
    ends = [3, 13, 20]

    out = compress(tokens.detach(), weight.detach(), 4, 2, ends)

    parts = [
        (tokens[first : first + 4] * weight.unsqueeze(-1)).sum(0)
        for start, end in ((0, 3), (3, 13), (13, 20))
        for first in range(start, end - 3, 2)
    ]
    expected, grad = torch.stack(parts), normal(6, 2, 3)
    torch.testing.assert_close(out, expected.detach())
    found = compress_grad(grad, tokens.detach(), weight.detach(), 4, 2, ends)
    for gradient, want in zip(
        found, torch.autograd.grad(expected, (tokens, weight), grad), strict=True
    ):
        torch.testing.assert_close(gradient, want)


def written_importance(weights: Tensor, key_heads: int, blocks: int, m: int, n: int) -> Tensor:
    heads, queries, keys = weights.shape
    score = torch.zeros(key_heads, queries, blocks)
    for head in range(heads):
        for block in range(1, blocks + 1):
            for a in range(m):
                for b in range(n):
                    if 0 <= m * block - a - b < keys:
                        score[head * key_heads // heads, :, block - 1] += weights[
                            head, :, m * block - a - b
                        ]
    return score


def test_compressed_attention_chooses_blocks() -> None:
    query, key, value = normal(9, 4, 8), normal(17, 2, 8), normal(17, 2, 6)
    mask = torch.ones(5, 9, dtype=torch.bool).triu(4)
    forced = torch.eye(5, 5)
    ends, key_ends, block_ends = [4, 9], [8, 17], [4, 9]
    arguments = (
        query,
        key,
        value,
        SCALE,
        4,
        32,
        16,
        64,
        3,
        forced,
        mask,
        ends,
        key_ends,
        block_ends,
    )

    outputs = compress_attention(*arguments)

    spans = ((slice(0, 4), slice(0, 8), 4), (slice(4, 9), slice(8, 17), 5))
    for rows, keys, blocks in spans:
        hidden = mask[: rows.stop - rows.start, : keys.stop - keys.start]
        weights = softmax(query[rows], key[keys], hidden)
        torch.testing.assert_close(outputs[0][rows], weighted(weights, value[keys]))
        score = written_importance(weights, 2, blocks, 4, 2)
        score[:, forced[: score.shape[1], :blocks].bool()] = torch.inf
        best = score.sort(dim=-1, descending=True, stable=True).indices[..., :3]
        assert outputs[1][rows].equal(best.transpose(0, 1).int())
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    grad = normal(9, 4, 6)
    parts = [
        weighted(
            softmax(leaves[0][r], leaves[1][k], mask[: r.stop - r.start, : k.stop - k.start]),
            leaves[2][k],
        )
        for r, k, _ in spans
    ]
    found = compress_attention_gradient(arguments, outputs, (grad, None, None, None))
    for gradient, want in zip(
        found, torch.autograd.grad(torch.cat(parts), leaves, grad), strict=False
    ):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_selected_blocks_are_attended_to(causal: bool) -> None:
    query, key, value = normal(7, 4, 8), normal(20, 2, 8), normal(20, 2, 6)
    blocks = torch.stack([torch.stack([torch.tensor([0, 2]), torch.tensor([0, 1])])] * 7).int()
    mask = torch.ones(2048, 2048, dtype=torch.bool).triu(1) if causal else None
    options = {"atten_mask": mask, "actual_seq_qlen": [3, 7], "actual_seq_kvlen": [8, 20]}
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    grad = normal(7, 4, 6)

    out, maximum, total = select_attention(query, key, value, blocks, SCALE, 4, 4, 2, **options)
    found = select_attention_grad(
        grad, query, key, value, out, maximum, total, blocks, SCALE, 4, 4, 2, **options
    )

    parts = []
    for rows, keys in ((slice(0, 3), slice(0, 8)), (slice(3, 7), slice(8, 20))):
        hidden = torch.ones(4, rows.stop - rows.start, keys.stop - keys.start, dtype=torch.bool)
        for head in range(4):
            for block in blocks[0, head // 2].tolist():
                hidden[head, :, 4 * block : 4 * block + 4] = False
        if causal:
            hidden |= torch.ones(hidden.shape[1:], dtype=torch.bool).triu(1)
        parts.append(weighted(softmax(leaves[0][rows], leaves[1][keys], hidden), leaves[2][keys]))
    expected = torch.cat(parts)
    torch.testing.assert_close(out, expected.detach())
    assert maximum.shape == total.shape == (7, 4, 8)
    for gradient, want in zip(found, torch.autograd.grad(expected, leaves, grad), strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-5)


TABLE = torch.tensor([[1, 3], [4, 0]], dtype=torch.int32)


def tokens(cache: Tensor, sequence: int, length: int, heads: int) -> Tensor:
    return cache[TABLE[sequence].long()].flatten(0, 1)[:length].unflatten(-1, (heads, -1))


def test_a_whole_block_is_compressed_into_the_cache() -> None:
    paged, weight, cache = normal(5, 16, 2, 8), normal(8, 2), torch.zeros(4, 2, 8)

    out = compress_infer(
        paged, weight, torch.tensor([2, 1]), 8, 4, 16, TABLE, [20, 21], cache=cache
    )

    last = tokens(paged.flatten(2), 0, 20, 2)[-8:]
    assert out is cache
    torch.testing.assert_close(cache[2], (last * weight.unsqueeze(-1)).sum(0))
    assert not cache[[0, 1, 3]].any()


def test_decoding_chooses_the_first_and_the_last_blocks_first() -> None:
    query, key, value = normal(2, 4, 8), normal(5, 16, 16), normal(5, 16, 12)

    out, chosen = compress_attention_infer(
        query, key, value, SCALE, 4, 2, 64, 4, 16, 32, 16, block_table=TABLE,
        actual_cmp_seq_kvlen=[30, 24],
    )  # fmt: skip

    for b, length in enumerate((30, 24)):
        weights = softmax(query[b : b + 1], tokens(key, b, length, 2))
        torch.testing.assert_close(out[b : b + 1], weighted(weights, tokens(value, b, length, 2)))
        blocks = -(-((length - 1) * 16 + 32) // 64)
        score = written_importance(weights, 2, blocks, 4, 2)[:, 0]
        for head in range(2):
            best = 1 + score[head, 1 : blocks - 2].argmax()
            assert chosen[b, head].tolist() == [0, blocks - 2, blocks - 1, int(best)]


@pytest.mark.parametrize("layout", ["TND", "BSH", "BSND"])
def test_decoding_attends_to_selected_blocks(layout: str) -> None:
    query, key, value = normal(2, 4, 8), normal(5, 16, 16), normal(5, 16, 12)
    blocks = torch.tensor([[[2, 0], [1, -1]], [[0, 1], [3, 2]]], dtype=torch.int32)
    shapes = {"TND": (2, 4, 8), "BSH": (2, 1, 32), "BSND": (2, 1, 4, 8)}

    out = select_attention_infer(
        query.view(shapes[layout]), key, value, blocks, SCALE, 4, 2, 8, 2, 16, layout=layout,
        block_table=TABLE, actual_seq_kvlen=[20, 29],
    )  # fmt: skip

    for b, length in enumerate((20, 29)):
        hidden = torch.ones(4, 1, length, dtype=torch.bool)
        for head in range(4):
            for block in blocks[b, head // 2].tolist():
                if block >= 0:
                    hidden[head, :, 8 * block : 8 * block + 8] = False
        weights = softmax(query[b : b + 1], tokens(key, b, length, 2), hidden)
        expected = weighted(weights, tokens(value, b, length, 2))
        torch.testing.assert_close(out[b].flatten(), expected.flatten())


def test_more_queries_a_sequence_are_refused() -> None:
    with pytest.raises(NotEmulated, match="more than one query"):
        select_attention_infer(
            normal(2, 3, 4, 8), normal(5, 16, 16), normal(5, 16, 12), torch.zeros(2, 2, 1).int(),
            SCALE, 4, 2, 8, 2, 16, block_table=TABLE, actual_seq_kvlen=[20, 29],
        )  # fmt: skip
