"""Sorting tokens by expert and undoing it, given each token's expert numbers.

`sorted_indices` says for every slot (token * k + choice) which row of the sorted tokens it has.
Slots whose row lies past the end were dropped.
"""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter

chapter = Chapter(
    source="github.com/Ascend/op-plugin op_plugin/config/op_plugin_functions.yaml, "
    "test/test_custom_ops/test_npu_moe_token_permute_and_unpermute.py"
)


@chapter.reference("npu::npu_moe_token_permute")
def permute(
    tokens: Tensor, indices: Tensor, num_out_tokens: int | None = None, padded_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """`tokens` [count, hidden] once for each of its experts, in expert order, and the slots' rows."""
    refuse("npu_moe_token_permute", padded_mode=padded_mode)
    slots = indices.numel()
    wanted = num_out_tokens or 0
    kept = min(wanted, slots) if wanted > 0 else wanted + slots
    order = torch.argsort(indices.flatten(), stable=True)
    choices = 1 if indices.dim() == 1 else indices.shape[1]
    return tokens[order[:kept] // choices], torch.argsort(order).int()


@chapter.reference("npu::npu_moe_token_permute_grad")
def permute_grad(
    tokens: Tensor,
    grad_permuted_tokens: Tensor,
    indices: Tensor,
    sorted_indices: Tensor,
    padded_mode: bool = False,
) -> Tensor:
    """Gradient of `tokens`: the sum over its copies."""
    refuse("npu_moe_token_permute_grad", padded_mode=padded_mode)
    copies = _rows(grad_permuted_tokens.float(), sorted_indices)
    return copies.reshape(tokens.shape[0], -1, tokens.shape[1]).sum(1).to(tokens.dtype)


@chapter.reference("npu::npu_moe_token_permute_grad_v2")
def permute_grad_v2(
    grad_permuted_tokens: Tensor,
    sorted_indices: Tensor,
    tokens_size_0: int,
    tokens_dtype: torch.dtype,
    num_topK: int,
    padded_mode: bool = False,
) -> Tensor:
    """Gradient of `tokens`: the sum over its copies."""
    refuse("npu_moe_token_permute_grad_v2", padded_mode=padded_mode)
    copies = _rows(grad_permuted_tokens.float(), sorted_indices)
    hidden = grad_permuted_tokens.shape[-1]
    return copies.reshape(tokens_size_0, num_topK, hidden).sum(1).to(tokens_dtype)


@chapter.reference("npu::npu_moe_token_unpermute")
def unpermute(
    permuted_tokens: Tensor,
    sorted_indices: Tensor,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: tuple[int, ...] | None = None,
) -> Tensor:
    """The weighted sum of each token's copies [tokens, hidden]."""
    refuse("npu_moe_token_unpermute", padded_mode=padded_mode)
    choices = 1 if probs is None else probs.shape[1]
    copies = _rows_of_choices(permuted_tokens, sorted_indices, choices)
    if probs is not None:
        copies = copies * probs.float().unsqueeze(-1)
    return copies.sum(1).to(permuted_tokens.dtype)


@chapter.reference("npu::_npu_moe_token_unpermute")
def unpermute_and_keep(
    permuted_tokens: Tensor,
    sorted_indices: Tensor,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: tuple[int, ...] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """What `unpermute` gives, and the tokens if the backward will need them."""
    out = unpermute(permuted_tokens, sorted_indices, probs, padded_mode, restore_shape)
    return out, None if probs is None else permuted_tokens.detach().clone()


@chapter.reference("npu::npu_moe_token_unpermute_grad")
def unpermute_grad(
    permuted_tokens: Tensor,
    grad_unpermuted_tokens: Tensor,
    sorted_indices: Tensor,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: tuple[int, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of the permuted tokens and of `probs`."""
    grads: tuple[Tensor, Tensor] = unpermute_grad_v2(
        grad_unpermuted_tokens,
        sorted_indices,
        permuted_tokens.shape[0],
        permuted_tokens.dtype,
        probs,
        padded_mode,
        restore_shape,
        permuted_tokens,
    )
    return grads


@chapter.reference("npu::npu_moe_token_unpermute_grad_v2")
def unpermute_grad_v2(
    grad_unpermuted_tokens: Tensor,
    sorted_indices: Tensor,
    permuted_tokens_size_0: int,
    permuted_tokens_dtype: torch.dtype,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: tuple[int, ...] | None = None,
    permuted_tokens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of the permuted tokens and of `probs`."""
    refuse("npu_moe_token_unpermute_grad", padded_mode=padded_mode)
    choices = 1 if probs is None else probs.shape[1]
    grad = grad_unpermuted_tokens.float().unsqueeze(1).expand(-1, choices, -1)
    grad_copies = grad if probs is None else grad * probs.float().unsqueeze(-1)
    grad_permuted = torch.zeros(permuted_tokens_size_0, grad.shape[-1])
    row = sorted_indices.long()
    kept = row < permuted_tokens_size_0
    grad_permuted[row[kept]] = grad_copies.flatten(0, 1)[kept]
    if probs is None:
        return grad_permuted.to(permuted_tokens_dtype), torch.zeros(
            (), dtype=grad_unpermuted_tokens.dtype
        )
    assert permuted_tokens is not None
    copies = _rows_of_choices(permuted_tokens, sorted_indices, choices)
    return grad_permuted.to(permuted_tokens_dtype), (grad * copies).sum(-1).to(probs.dtype)


def _rows_of_choices(values: Tensor, row: Tensor, choices: int) -> Tensor:
    """[tokens, choices, hidden] in float32."""
    return _rows(values.float(), row).reshape(row.numel() // choices, choices, values.shape[1])


def _rows(values: Tensor, row: Tensor) -> Tensor:
    """Rows `row` of `values`; zero for those past its end."""
    index = row.long()
    inside = index < values.shape[0]
    if values.shape[0] == 0:
        return values.new_zeros(index.shape[0], values.shape[1])
    return values[index.clamp(max=values.shape[0] - 1)] * inside.unsqueeze(-1)
