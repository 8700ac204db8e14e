"""Sorting tokens by expert and undoing it, against loops, each other and autograd."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import moe as moe
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def test_permute_sorts_by_expert_and_says_where_each_slot_went() -> None:
    tokens, experts = torch.randn(6, 3), torch.randint(0, 4, (6, 2))
    permuted, row = run("npu_moe_token_permute", tokens, experts)
    where = sorted(range(12), key=lambda slot: (experts.flatten()[slot].item(), slot))
    for at, slot in enumerate(where):
        torch.testing.assert_close(permuted[at], tokens[slot // 2])
        assert row[slot] == at
    assert row.dtype == torch.int32


@pytest.mark.parametrize(("wanted", "rows"), [(5, 5), (99, 12), (-2, 10), (None, 12)])
def test_permute_keeps_as_many_rows_as_asked(wanted: int | None, rows: int) -> None:
    permuted, row = run("npu_moe_token_permute", torch.randn(6, 3), torch.ones(6, 2).int(), wanted)
    assert permuted.shape == (rows, 3)
    assert row.shape == (12,)


def test_padding_is_refused_by_name() -> None:
    with pytest.raises(NotEmulated, match="padded_mode"):
        run("npu_moe_token_permute", torch.randn(6, 3), torch.ones(6, 2).int(), None, True)


@pytest.mark.parametrize("kept", [12, 7])
def test_unpermute_weighs_and_adds_up_each_tokens_rows(kept: int) -> None:
    tokens, experts = torch.randn(6, 3), torch.randint(0, 4, (6, 2))
    permuted, row = run("npu_moe_token_permute", tokens, experts, kept)
    probs = torch.rand(6, 2)
    (found,) = run("npu_moe_token_unpermute", permuted, row, probs)
    present = (row.reshape(6, 2) < kept).float()
    torch.testing.assert_close(found, tokens * (probs * present).sum(-1, keepdim=True))


def test_unpermute_without_weights_restores_the_order() -> None:
    tokens, experts = torch.randn(6, 3), torch.randint(0, 4, (6,))
    permuted, row = run("npu_moe_token_permute", tokens, experts)
    torch.testing.assert_close(run("npu_moe_token_unpermute", permuted, row)[0], tokens)
    out, kept = run("_npu_moe_token_unpermute", permuted, row)
    torch.testing.assert_close(out, tokens)
    assert kept is None


@pytest.mark.parametrize("kept", [12, 7])
def test_permute_gradients_are_the_derivative(kept: int) -> None:
    tokens = torch.randn(6, 3, requires_grad=True)
    experts = torch.randint(0, 4, (6, 2))
    permuted, row = run("npu_moe_token_permute", tokens, experts, kept)
    grad = torch.randn_like(permuted)
    (expected,) = torch.autograd.grad(permuted, tokens, grad)
    (first,) = run("npu_moe_token_permute_grad", tokens, grad, experts, row)
    (second,) = run("npu_moe_token_permute_grad_v2", grad, row, 6, torch.float32, 2)
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, expected)


@pytest.mark.parametrize("kept", [12, 7])
def test_unpermute_gradients_are_the_derivative(kept: int) -> None:
    row = torch.randperm(12).int()
    permuted = torch.randn(kept, 3, requires_grad=True)
    probs = torch.rand(6, 2, requires_grad=True)
    (out,) = run("npu_moe_token_unpermute", permuted, row, probs)
    grad = torch.randn_like(out)
    expected = torch.autograd.grad(out, (permuted, probs), grad)
    with torch.no_grad():
        found = run("npu_moe_token_unpermute_grad", permuted, grad, row, probs)
    torch.testing.assert_close(found, expected)


def test_unpermute_gradient_without_weights_reorders() -> None:
    row = torch.randperm(5).int()
    grad = torch.randn(5, 3)
    found = run("npu_moe_token_unpermute_grad_v2", grad, row, 5, torch.float16)[0]
    torch.testing.assert_close(found[row.long()], grad.half())


def chosen_pairs(routing_map: Tensor) -> list[tuple[int, int]]:
    """(expert, token) of every choice, expert by expert."""
    tokens, experts = routing_map.shape
    return [(e, t) for e in range(experts) for t in range(tokens) if routing_map[t, e]]


def two_of_five(tokens: int) -> Tensor:
    routing_map = torch.zeros(tokens, 5, dtype=torch.bool)
    for token in range(tokens):
        routing_map[token, torch.randperm(5)[:2]] = True
    return routing_map


def test_a_routing_map_lays_tokens_out_expert_by_expert() -> None:
    tokens, routing_map, probs = torch.randn(6, 3), two_of_five(6), torch.rand(6, 5)
    permuted, chosen, row = run(
        "npu_moe_token_permute_with_routing_map",
        tokens,
        routing_map,
        probs=probs,
        num_out_tokens=12,
    )
    pairs = chosen_pairs(routing_map)
    for at, (expert, token) in enumerate(pairs):
        torch.testing.assert_close(permuted[at], tokens[token])
        torch.testing.assert_close(chosen[at], probs[token, expert])
    assert [pairs[at][1] for at in row.tolist()] == [t for t in range(6) for _ in range(2)]


def test_capacity_gives_every_expert_as_many_rows() -> None:
    tokens = torch.randn(3, 4)
    routing_map = torch.tensor([[True, False], [True, True], [True, True]])
    permuted, chosen, token = run(
        "npu_moe_token_permute_with_routing_map",
        tokens,
        routing_map,
        num_out_tokens=5,
        drop_and_pad=True,
    )
    assert token.tolist() == [0, 1, 1, 2]
    torch.testing.assert_close(permuted, tokens[token.long()])
    assert chosen is None


@pytest.mark.parametrize("drop_and_pad", [False, True])
def test_routing_map_permute_gradients_are_the_derivative(drop_and_pad: bool) -> None:
    tokens = torch.randn(6, 3, requires_grad=True)
    probs = torch.rand(6, 5, requires_grad=True)
    routing_map = two_of_five(6)
    options = {"num_out_tokens": 10 if drop_and_pad else 12, "drop_and_pad": drop_and_pad}
    permuted, chosen, index = run(
        "npu_moe_token_permute_with_routing_map", tokens, routing_map, probs=probs, **options
    )
    grads = torch.randn_like(permuted), torch.randn_like(chosen)
    expected = torch.autograd.grad((permuted, chosen), (tokens, probs), grads)
    found = run(
        "npu_moe_token_permute_with_routing_map_grad",
        *grads,
        index,
        routing_map,
        5,
        6,
        drop_and_pad,
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("drop_and_pad", [False, True])
@pytest.mark.parametrize("with_probs", [False, True])
def test_routing_map_unpermute_adds_up_each_tokens_rows(
    drop_and_pad: bool, with_probs: bool
) -> None:
    tokens, routing_map = torch.randn(6, 3), two_of_five(6)
    probs = torch.rand(6, 5) if with_probs else None
    options = {"num_out_tokens": 10 if drop_and_pad else 12, "drop_and_pad": drop_and_pad}
    permuted, _, index = run(
        "npu_moe_token_permute_with_routing_map", tokens, routing_map, **options
    )
    (found,) = run(
        "npu_moe_token_unpermute_with_routing_map",
        permuted,
        index,
        (6, 3),
        probs=probs,
        routing_map=routing_map,
        drop_and_pad=drop_and_pad,
    )
    if drop_and_pad:
        pairs = [(row // 2, token) for row, token in enumerate(index.tolist())]
    else:
        pairs = chosen_pairs(routing_map)
    expected = torch.zeros(6, 3)
    for expert, token in pairs:
        expected[token] += tokens[token] * (probs[token, expert] if probs is not None else 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("drop_and_pad", [False, True])
def test_routing_map_unpermute_gradients_are_the_derivative(drop_and_pad: bool) -> None:
    routing_map = two_of_five(6)
    rows = 10 if drop_and_pad else 12
    options = {"num_out_tokens": rows, "drop_and_pad": drop_and_pad}
    index = run(
        "npu_moe_token_permute_with_routing_map", torch.randn(6, 3), routing_map, **options
    )[2]
    permuted = torch.randn(rows, 3, requires_grad=True)
    probs = torch.rand(6, 5, requires_grad=True)
    given = {"probs": probs, "routing_map": routing_map, "drop_and_pad": drop_and_pad}
    out, row, token, weight = run(
        "_npu_moe_token_unpermute_with_routing_map", permuted, index, (6, 3), **given
    )
    grad = torch.randn_like(out)
    expected = torch.autograd.grad(out, (permuted, probs), grad)
    indices = (row, token) if drop_and_pad else (index, index)
    found = run(
        "npu_moe_token_unpermute_with_routing_map_grad",
        grad,
        *indices,
        routing_map,
        permuted.detach(),
        probs.detach(),
        drop_and_pad,
        (6, 3),
    )
    torch.testing.assert_close(found, expected)
    assert weight.shape == index.shape
