"""Attention to chosen blocks and tokens, against dense attention with the choice written out."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.block_sparse import (
    block_sparse_attention,
    block_sparse_attention_backward,
)
from cordee.emulator.ops.attention.indexer import (
    dense_lightning_indexer_softmax_lse,
    lightning_indexer,
    lightning_indexer_grad,
    quant_lightning_indexer,
)
from cordee.emulator.ops.attention.quantised_sparse import kv_quant_sparse_flash_attention
from cordee.emulator.ops.attention.sparse_flash import (
    sparse_flash_attention,
    sparse_flash_attention_grad,
)

SCALE = 0.3


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def dense(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of [S, N, D], and the logarithm of each row's sum [S, N, 1]."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = SCALE * torch.einsum("snd,tnd->nst", query, key)
    scores = scores.masked_fill(hidden, -torch.inf)
    out = torch.einsum("nst,tnd->snd", scores.softmax(-1), value)
    return out, scores.logsumexp(-1).T.unsqueeze(-1)


def block_mask(batch: int, heads: int, rows: int, columns: int) -> Tensor:
    mask = normal(batch, heads, rows, columns) > 0
    mask[..., 0] = True
    return mask.to(torch.int8)


def test_blocks_of_queries_see_blocks_of_keys() -> None:
    query, key, value = normal(2, 4, 7, 8), normal(2, 2, 9, 8), normal(2, 2, 9, 8)
    mask, grad = block_mask(2, 4, 3, 3), normal(2, 4, 7, 8, seed=1)
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    lengths = {"actual_seq_lengths": [7, 5], "actual_seq_lengths_kv": [9, 6]}

    out, lse = block_sparse_attention(
        query, key, value, mask, [3, 4], "BNSD", "BNSD", 2, SCALE, 1, **lengths
    )
    found = block_sparse_attention_backward(
        grad, query, key, value, out, lse, mask, [3, 4], *lengths.values(), "BNSD", "BNSD", 2, SCALE
    )

    parts = []
    for b, (rows, keys) in enumerate([(7, 9), (5, 6)]):
        seen = mask[b][:, torch.arange(rows) // 3][..., torch.arange(keys) // 4] != 0
        sides = (
            t[b, :, :n].transpose(0, 1) for t, n in zip(leaves, (rows, keys, keys), strict=True)
        )
        expected, logs = dense(*sides, ~seen)
        torch.testing.assert_close(out[b, :, :rows], expected.detach().transpose(0, 1))
        torch.testing.assert_close(lse[b, :, :rows], logs.detach().transpose(0, 1))
        parts.append((expected.transpose(0, 1) * grad[b, :, :rows]).sum())
    for gradient, want in zip(found, torch.autograd.grad(sum(parts), leaves), strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-5)


def test_blocks_of_sequences_in_a_row_need_their_lengths() -> None:
    query, key, value = normal(7, 2, 8), normal(9, 2, 8), normal(9, 2, 8)
    mask = block_mask(2, 2, 2, 2)

    out, _ = block_sparse_attention(
        query, key, value, mask, [3, 4], num_key_value_heads=2, scale_value=SCALE,
        actual_seq_lengths=[3, 4], actual_seq_lengths_kv=[4, 5],
    )  # fmt: skip

    seen = mask[1][:, torch.arange(4) // 3][..., torch.arange(5) // 4] != 0
    torch.testing.assert_close(out[3:], dense(query[3:], key[4:], value[4:], ~seen)[0])
    with pytest.raises(RuntimeError, match="actual_seq_lengths must be specified"):
        block_sparse_attention(query, key, value, mask, [3, 4])


def chosen_blocks(queries: int, blocks: int, count: int) -> Tensor:
    """Different blocks for each query, some of them none."""
    order = normal(queries, 1, blocks).argsort(-1)[..., :count].int()
    order[::2, :, -1] = -1
    return order


def hidden_but(choice: Tensor, size: int, keys: int, causal: bool) -> Tensor:
    queries = choice.shape[0]
    seen = torch.zeros(queries, keys, dtype=torch.bool)
    for q in range(queries):
        for block in choice[q, 0].tolist():
            if block >= 0:
                seen[q, block * size : (block + 1) * size] = True
    if causal:
        seen &= torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return ~seen


@pytest.mark.parametrize(("mode", "size"), [(0, 1), (3, 2)])
def test_queries_attend_to_the_tokens_chosen_for_them(mode: int, size: int) -> None:
    query, key = normal(2, 3, 4, 8), normal(2, 10, 1, 8)
    query_rope, key_rope, grad = normal(2, 3, 4, 3), normal(2, 10, 1, 3), normal(2, 3, 4, 8, seed=1)
    choice = torch.stack([chosen_blocks(3, 7 // size, 3), chosen_blocks(3, 7 // size, 3).flip(0)])
    leaves = [t.clone().requires_grad_() for t in (query, key, key, query_rope, key_rope)]
    ropes = {"query_rope": query_rope, "key_rope": key_rope, "sparse_mode": mode}

    out, maximum, total = sparse_flash_attention(
        query, key, key, choice, SCALE, sparse_block_size=size, attention_mode=2,
        return_softmax_lse=True, **ropes,
    )  # fmt: skip
    found = sparse_flash_attention_grad(
        query, key, key, choice, grad, out, maximum, total, SCALE, size, **ropes
    )

    loss = 0
    for b in range(2):
        whole = torch.cat([leaves[0][b], leaves[3][b]], -1)
        keys = torch.cat([leaves[1][b], leaves[4][b]], -1)
        hidden = hidden_but(choice[b], size, 10, causal=mode == 3)
        expected, logs = dense(whole, keys, leaves[2][b], hidden)
        torch.testing.assert_close(out[b], expected.detach())
        torch.testing.assert_close((maximum + total.log())[b, 0], logs[..., 0].detach())
        loss = loss + (expected * grad[b]).sum()
    for gradient, want in zip(found, torch.autograd.grad(loss, leaves), strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-5)


def test_chosen_tokens_may_lie_in_blocks_of_a_cache() -> None:
    query, cache = normal(3, 4, 8), normal(5, 16, 1, 8)
    table = torch.tensor([[4, 1], [2, 0]], dtype=torch.int32)
    choice = chosen_blocks(3, 18, 6)

    out, *_ = sparse_flash_attention(
        query, cache, cache, choice, SCALE, block_table=table, layout_query="TND",
        layout_kv="PA_BSND", actual_seq_lengths_query=torch.tensor([1, 3]),
        actual_seq_lengths_kv=torch.tensor([18, 30]),
    )  # fmt: skip

    for b, (rows, length) in enumerate([(slice(0, 1), 18), (slice(1, 3), 30)]):
        keys = cache[table[b].long()].flatten(0, 1)[:length]
        hidden = hidden_but(choice[rows], 1, length, causal=True)
        torch.testing.assert_close(out[rows], dense(query[rows], keys, keys, hidden)[0])


def test_other_windows_are_refused() -> None:
    query, key = normal(1, 2, 1, 8), normal(1, 4, 1, 8)

    with pytest.raises(NotEmulated, match="sparse_mode 4"):
        sparse_flash_attention(query, key, key, torch.zeros(1, 2, 1, 1).int(), 1.0, sparse_mode=4)


def written_scores(query: Tensor, key: Tensor, weights: Tensor) -> Tensor:
    queries, heads, _ = query.shape
    keys = key.shape[0]
    score = torch.zeros(queries, keys)
    for n in range(heads):
        score = score + weights[:, n : n + 1] * torch.relu(query[:, n] @ key[:, 0].T)
    later = torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)
    return score.masked_fill(later, -torch.inf)


def test_the_indexer_gives_the_best_tokens_in_order() -> None:
    query, key, weights = normal(2, 3, 4, 8), normal(2, 6, 1, 8), normal(2, 3, 4)

    indices, values = lightning_indexer(query, key, weights, sparse_count=5, return_value=True)

    assert indices.shape == (2, 3, 1, 5)
    for b in range(2):
        score = written_scores(query[b], key[b], weights[b])
        for s in range(3):
            seen = min(5, 4 + s)
            best = score[s].topk(seen)
            torch.testing.assert_close(values[b, s, 0, :seen], best.values)
            assert indices[b, s, 0].tolist() == best.indices.tolist() + [-1] * (5 - seen)


def test_the_indexer_has_gradients_through_its_values() -> None:
    query, key, weights = (
        t.requires_grad_() for t in (normal(5, 4, 8), normal(9, 1, 8), normal(5, 4))
    )
    ends, key_ends, grad = torch.tensor([2, 5]), torch.tensor([4, 9]), normal(5, 1, 3)
    plain = [t.detach() for t in (query, key, weights)]

    indices, _ = lightning_indexer(
        *plain, ends, key_ends, layout_query="TND", layout_key="TND", sparse_count=3
    )
    found = lightning_indexer_grad(
        plain[0], plain[1], grad, indices, plain[2], ends, key_ends, layout="TND"
    )

    loss = 0
    for rows, keys in ((slice(0, 2), slice(0, 4)), (slice(2, 5), slice(4, 9))):
        score = written_scores(query[rows], key[keys], weights[rows])
        loss = loss + (score.gather(1, indices[rows, 0].long()) * grad[rows, 0]).sum()
    for gradient, want in zip(found, torch.autograd.grad(loss, (query, key, weights)), strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-5)


def test_the_indexer_of_integers_scales_tokens_and_heads() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randint(-128, 128, (1, 2, 4, 8), generator=generator, dtype=torch.int8)
    cache = torch.randint(-128, 128, (3, 16, 1, 8), generator=generator, dtype=torch.int8)
    weights, scales = normal(1, 2, 4).half(), normal(1, 2, 4).abs().half()
    key_scales, table = normal(3, 16, 1).abs().half(), torch.tensor([[2, 0]])

    indices = quant_lightning_indexer(
        query, cache, weights, scales, key_scales, 0, 0, None, torch.tensor([20]), table,
        layout_key="PA_BSND", sparse_count=8,
    )  # fmt: skip

    keys = cache[table[0]].flatten(0, 1)[:20].float()
    by_key = key_scales[table[0]].flatten()[:20].float()
    score = torch.zeros(2, 20)
    for n in range(4):
        product = torch.relu(query[0, :, n].float() @ keys[:, 0].T) / 1024
        score += (weights * scales)[0, :, n : n + 1].float() * product.half().float()
    score = (score * by_key).masked_fill(torch.ones(2, 20).triu(19).bool(), -torch.inf)
    assert indices[0, :, 0].tolist() == score.topk(8).indices.tolist()


def test_the_dense_indexer_gives_softmax_statistics() -> None:
    query, key, weights = normal(5, 4, 8), normal(9, 1, 8), normal(5, 4)

    maximum, total = dense_lightning_indexer_softmax_lse(
        query, key, weights, [2, 5], [4, 9], layout="TND"
    )

    assert maximum.shape == total.shape == (1, 5)
    first = written_scores(query[:2], key[:4], weights[:2])
    torch.testing.assert_close((maximum + total.log())[0, :2], first.logsumexp(-1))


def test_a_cache_of_int8_carries_its_own_scales() -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(-128, 128, (5, 16, 1, 8), generator=generator, dtype=torch.int8)
    rope, scales = normal(5, 16, 1, 4).bfloat16(), normal(5, 16, 1, 2).abs() / 50
    cache = torch.cat([whole, rope.view(torch.int8), scales.view(torch.int8)], -1)
    query, table = normal(2, 1, 4, 12).bfloat16(), torch.tensor([[4, 1], [2, 0]], dtype=torch.int32)
    choice, lengths = chosen_blocks(2, 18, 6).unsqueeze(1), torch.tensor([18, 30])

    out = kv_quant_sparse_flash_attention(
        query, cache, cache, choice, SCALE, 2, 2, block_table=table, actual_seq_lengths_kv=lengths,
        layout_kv="PA_BSND", tile_size=4, rope_head_dim=4,
    )  # fmt: skip

    numbers = whole.float() * scales.repeat_interleave(4, -1)
    for b, length in enumerate(lengths.tolist()):
        values, turned = (
            t[table[b].long()].flatten(0, 1)[:length] for t in (numbers, rope.float())
        )
        keys = torch.cat([values, turned], -1)
        hidden = hidden_but(choice[b], 1, length, causal=True)
        expected, _ = dense(query[b].float(), keys, values, hidden)
        torch.testing.assert_close(out[b], expected.bfloat16(), rtol=0.02, atol=0.01)
