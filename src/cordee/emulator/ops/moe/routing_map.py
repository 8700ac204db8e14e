"""Sorting tokens by expert and undoing it, given a map [tokens, experts] of who goes where.

Without padding the sorted tokens hold, expert after expert, the tokens that chose it. With
`drop_and_pad` every expert has the same number of rows, its capacity: tokens beyond it are
dropped, and tokens that did not choose the expert fill what is left.
"""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/MoeTokenPermuteWithRoutingMapOpApi.cpp"))


@chapter.reference("npu::npu_moe_token_permute_with_routing_map")
def permute(
    tokens: Tensor,
    routing_map: Tensor,
    probs: Tensor | None = None,
    num_out_tokens: int | None = None,
    drop_and_pad: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Tokens and their probabilities in expert order, and the index that undoes it.

    The index has the row of each chosen (token, expert) pair in token order; with
    `drop_and_pad` the token of each row.
    """
    wanted = tokens.shape[0] if num_out_tokens is None else num_out_tokens
    unit = routing_map.shape[1 if drop_and_pad else 0]
    rows = wanted // unit * unit
    if drop_and_pad:
        token = _tokens_in_capacity(routing_map, rows // routing_map.shape[1])
        expert = _expert_of_row(token.numel(), routing_map.shape[1])
        index = token
    else:
        expert, token = routing_map.bool().T.nonzero(as_tuple=True)
        index = torch.argsort(token, stable=True)
        expert, token, index = expert[:rows], token[:rows], index[:rows]
    chosen = None if probs is None else probs[token, expert]
    return tokens[token], chosen, index.int()


@chapter.reference("npu::npu_moe_token_permute_with_routing_map_grad")
def permute_grad(
    permuted_token_out_grad: Tensor,
    probs_grad: Tensor | None,
    sorted_indices: Tensor,
    routing_map: Tensor,
    experts_num: int,
    tokens_num: int,
    drop_and_pad: bool,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the tokens and of their probabilities [tokens, experts]."""
    rows = permuted_token_out_grad.shape[0]
    if drop_and_pad:
        token, expert = sorted_indices.long(), _expert_of_row(rows, experts_num)
    else:
        expert, token = routing_map.bool().T.nonzero(as_tuple=True)
        expert, token = expert[:rows], token[:rows]
    hidden = permuted_token_out_grad.shape[1]
    grad = torch.zeros(tokens_num, hidden).index_add(0, token, permuted_token_out_grad.float())
    grad_probs = None
    if probs_grad is not None:
        grad_probs = torch.zeros(tokens_num, experts_num, dtype=probs_grad.dtype)
        grad_probs.index_put_((token, expert), probs_grad, accumulate=True)
    return grad.to(permuted_token_out_grad.dtype), grad_probs


@chapter.reference("npu::npu_moe_token_unpermute_with_routing_map")
def unpermute(
    permuted_tokens: Tensor,
    sorted_indices: Tensor,
    restore_shape: tuple[int, ...],
    probs: Tensor | None = None,
    routing_map: Tensor | None = None,
    drop_and_pad: bool = False,
) -> Tensor:
    """The weighted sum of each token's copies [tokens, hidden]."""
    tokens, hidden = restore_shape
    copies = permuted_tokens.float()
    weight = _row_probs(sorted_indices, probs, routing_map, drop_and_pad)
    if drop_and_pad:
        token = sorted_indices.long()
        copies = copies if weight is None else copies * weight.float().unsqueeze(-1)
    else:
        copies = copies[sorted_indices.long()]
        copies = copies if weight is None else copies * weight.float().unsqueeze(-1)
        if routing_map is not None:
            token = routing_map.nonzero(as_tuple=True)[0][: len(copies)]
        else:
            token = torch.arange(tokens).repeat_interleave(len(copies) // tokens)
    out = torch.zeros(tokens, hidden).index_add(0, token, copies)
    return out.to(permuted_tokens.dtype)


@chapter.reference("npu::_npu_moe_token_unpermute_with_routing_map")
def unpermute_and_keep(
    permuted_tokens: Tensor,
    sorted_indices: Tensor,
    restore_shape: tuple[int, ...],
    probs: Tensor | None = None,
    routing_map: Tensor | None = None,
    drop_and_pad: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """What `unpermute` gives, then rows by token, their tokens, and the probability of each row."""
    out = unpermute(
        permuted_tokens, sorted_indices, restore_shape, probs, routing_map, drop_and_pad
    )
    if drop_and_pad:
        token, row = torch.sort(sorted_indices, stable=True)
        row = row.to(sorted_indices.dtype)
    else:
        row = unwritten(sorted_indices.shape, sorted_indices.dtype)
        token = unwritten(sorted_indices.shape, sorted_indices.dtype)
    weight = _row_probs(sorted_indices, probs, routing_map, drop_and_pad)
    return out, row, token, None if weight is None else weight.detach()


@chapter.reference("npu::npu_moe_token_unpermute_with_routing_map_grad")
def unpermute_grad(
    unpermuted_tokens_grad: Tensor,
    out_index: Tensor,
    permuted_token_id: Tensor,
    routing_map: Tensor | None,
    permuted_tokens: Tensor | None,
    probs: Tensor | None,
    drop_and_pad: bool,
    restore_shape: tuple[int, ...],
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the permuted tokens and of their probabilities [tokens, experts]."""
    grad = unpermuted_tokens_grad
    index = out_index
    if drop_and_pad:
        index = torch.empty_like(permuted_token_id)
        index[out_index.long()] = permuted_token_id
    if permuted_tokens is None:
        permuted_tokens = torch.zeros(out_index.shape[0], grad.shape[1], dtype=grad.dtype)
    if probs is None:
        (grad_permuted,) = vjp(
            lambda p: unpermute(p, index, restore_shape, None, routing_map, drop_and_pad),
            (permuted_tokens,),
            (grad,),
        )
        assert grad_permuted is not None
        return grad_permuted.to(grad.dtype), None
    grad_permuted, grad_probs = vjp(
        lambda p, q: unpermute(p, index, restore_shape, q, routing_map, drop_and_pad),
        (permuted_tokens, probs),
        (grad,),
    )
    assert grad_permuted is not None
    assert grad_probs is not None
    return grad_permuted.to(grad.dtype), grad_probs.to(grad.dtype)


def _tokens_in_capacity(routing_map: Tensor, capacity: int) -> Tensor:
    """The token of each of the experts' rows: those that chose it first, in token order."""
    by_choice = torch.sort(routing_map.T.to(torch.int8), dim=-1, descending=True, stable=True)
    return by_choice.indices[:, :capacity].flatten()


def _expert_of_row(rows: int, experts: int) -> Tensor:
    return torch.arange(experts).repeat_interleave(rows // experts)


def _row_probs(
    index: Tensor, probs: Tensor | None, routing_map: Tensor | None, drop_and_pad: bool
) -> Tensor | None:
    """Each row's probability with `drop_and_pad`, else each pair's in token order."""
    if probs is None:
        return None
    if drop_and_pad:
        return probs[index.long(), _expert_of_row(index.numel(), probs.shape[1])]
    require(routing_map is not None, "probs needs routing_map")
    assert routing_map is not None
    return probs[routing_map.nonzero(as_tuple=True)]
