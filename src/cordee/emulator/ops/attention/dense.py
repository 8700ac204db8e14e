"""Softmax attention in float32, forward and backward, some query rows at a time.

Dao, Fu, Ermon, Rudra, Re, "FlashAttention" (arXiv:2205.14135), algorithms 1 and 4, give the maths:
the row maximum and the row sum of the softmax are enough to find its values again in the backward.
Tensors are [B, N, S, D]; several query heads may share one head of key and value.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cordee.emulator.ops.attention.masks import Rows

SCORES_AT_ONCE = 2**25  # elements of one block of scores, 128 MiB in float32
# What the chip leaves as maximum and sum of a row whose keys are all hidden; its output is zero.
LOWEST = torch.finfo(torch.float32).min
HIGHEST = torch.finfo(torch.float32).max


class Bias(Protocol):
    """A position bias, added to the scores."""

    def rows(self, start: int, stop: int) -> Tensor:
        """The bias of some queries; broadcasts to [B, N, stop - start, Skv]."""
        ...

    def gradient(self, start: int, stop: int, grad: Tensor) -> Tensor:
        """The gradient of the tensor behind `rows`, given that of its rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What makes the weights of attention, besides query and key."""

    scale: float
    hidden: Rows | None = None
    bias: Bias | None = None
    bias_is_scaled: bool = False
    sink: Tensor | None = None  # [N]: one more score per head, of a key without a value
    kept: Tensor | None = None  # [B, N, Sq, Skv]: what dropout leaves
    keep_prob: float = 1.0
    weights_dtype: torch.dtype | None = None  # what the softmax is rounded to before the values


class Attended(NamedTuple):
    """Output [B, N, Sq, Dv], row maximum and row sum [B, N, Sq, 1] of the softmax."""

    out: Tensor
    maximum: Tensor
    total: Tensor

    @property
    def lse(self) -> Tensor:
        """Logarithm of the sum of exponentials [B, N, Sq, 1]; infinite where no key is seen."""
        lse = self.maximum + self.total.log()
        return lse.masked_fill(self.total == HIGHEST, float("inf"))


class Gradients(NamedTuple):
    """Gradients of what `attend` was given."""

    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None
    sink: Tensor | None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    terms: Terms,
    rounded: Callable[[Tensor], Tensor] | None = None,
) -> Attended:
    """Attention of `query` [B, N, Sq, D] to `key` [B, Nkv, Skv, D] and `value` [B, Nkv, Skv, Dv].

    `rounded` is what becomes of the weights, before they are divided by their sum, where the
    chip multiplies values in another number format.
    """
    query, key, value = query.float(), key.float(), value.float()
    if key.shape[2] == 0:
        return _nothing_to_see(query, value)
    parts = [
        _attend_rows(query[:, :, rows], key, value, terms, rows, rounded)
        for rows in _blocks(query.shape, key.shape)
    ]
    return Attended(*(torch.cat(part, dim=2) for part in zip(*parts, strict=True)))


def attend_grad(
    query: Tensor, key: Tensor, value: Tensor, grad: Tensor, attended: Attended, terms: Terms
) -> Gradients:
    """Gradients, given that of the output and what `attend` gave.

    `attended` may cover more keys than are given here, as it does in ring attention: what these
    keys contribute is right all the same.
    """
    query, key, value, grad = query.float(), key.float(), value.float(), grad.float()
    delta = (grad * attended.out.float()).sum(-1, keepdim=True)
    found = Gradients(
        torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value), None, None
    )
    for rows in _blocks(query.shape, key.shape):
        stats = (attended.maximum[:, :, rows], attended.total[:, :, rows], delta[:, :, rows])
        block = _row_gradients(query[:, :, rows], key, value, grad[:, :, rows], stats, terms, rows)
        found.query[:, :, rows] = block.query
        found.key.add_(block.key)
        found.value.add_(block.value)
        found = _with_bias(found, block)
    if terms.sink is not None:
        weight = (terms.sink.float().view(1, -1, 1, 1) - attended.maximum).exp() / attended.total
        found = found._replace(sink=-(weight * delta).sum((0, 2, 3)))
    return found


def _with_bias(found: Gradients, block: Gradients) -> Gradients:
    """`found` with the bias gradient of `block` added."""
    if block.bias is None:
        return found
    return found._replace(bias=block.bias if found.bias is None else found.bias + block.bias)


def _attend_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    terms: Terms,
    rows: slice,
    rounded: Callable[[Tensor], Tensor] | None,
) -> Attended:
    scores = _scores(query, key, terms, rows)
    maximum = scores.amax(-1, keepdim=True).clamp_min(LOWEST)
    if terms.sink is not None:
        sink = terms.sink.float().view(1, -1, 1, 1)
        maximum = torch.maximum(maximum, sink)
    weights = (scores - maximum).exp()
    total = weights.sum(-1, keepdim=True)
    if terms.sink is not None:
        total = total + (sink - maximum).exp()
    total = total.masked_fill(total == 0, HIGHEST)
    if rounded is not None:
        return Attended(_weighted(rounded(weights), value) / total, maximum, total)
    weights = _dropped(weights / total, terms, rows)
    if terms.weights_dtype is not None:
        weights = weights.to(terms.weights_dtype).float()
    return Attended(_weighted(weights, value), maximum, total)


def _row_gradients(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grad: Tensor,
    stats: tuple[Tensor, Tensor, Tensor],
    terms: Terms,
    rows: slice,
) -> Gradients:
    maximum, total, delta = stats
    weights = (_scores(query, key, terms, rows) - maximum).exp() / total
    grad_value = _summed(_dropped(weights, terms, rows), grad, value.shape)
    grad_weights = _dropped(_products(grad, value), terms, rows)
    grad_scores = weights * (grad_weights - delta)
    grad_products = grad_scores * terms.scale
    grad_bias = None
    if terms.bias is not None:
        grad_rows = grad_products if terms.bias_is_scaled else grad_scores
        grad_bias = terms.bias.gradient(rows.start, rows.stop, grad_rows)
    return Gradients(
        _weighted(grad_products, key),
        _summed(grad_products, query, key.shape),
        grad_value,
        grad_bias,
        None,
    )


def _scores(query: Tensor, key: Tensor, terms: Terms, rows: slice) -> Tensor:
    scores = _products(query, key)
    if terms.bias is not None and terms.bias_is_scaled:
        scores = scores + terms.bias.rows(rows.start, rows.stop)
    scores = scores * terms.scale
    if terms.bias is not None and not terms.bias_is_scaled:
        scores = scores + terms.bias.rows(rows.start, rows.stop)
    if terms.hidden is not None:
        scores = scores.masked_fill(terms.hidden(rows.start, rows.stop), -torch.inf)
    return scores


def _dropped(weights: Tensor, terms: Terms, rows: slice) -> Tensor:
    if terms.kept is None:
        return weights
    return weights * terms.kept[:, :, rows] / terms.keep_prob


def _products(query: Tensor, key: Tensor) -> Tensor:
    """Dot products [B, N, Sq, Skv]; the heads that share a key head are rows of one product."""
    batch, heads, length, _ = query.shape
    grouped = query.reshape(batch, key.shape[1], -1, query.shape[-1])
    return (grouped @ key.transpose(-1, -2)).view(batch, heads, length, -1)


def _weighted(weights: Tensor, value: Tensor) -> Tensor:
    """Sums [B, N, Sq, Dv] of `value` under `weights` [B, N, Sq, Skv]."""
    batch, heads, length, keys = weights.shape
    grouped = weights.reshape(batch, value.shape[1], -1, keys)
    return (grouped @ value).view(batch, heads, length, -1)


def _summed(weights: Tensor, rows: Tensor, shape: torch.Size) -> Tensor:
    """Sums [B, Nkv, Skv, D] of the query rows `rows` under `weights`, over heads that share."""
    batch, key_heads, keys, size = shape
    grouped = weights.reshape(batch, key_heads, -1, keys)
    return grouped.transpose(-1, -2) @ rows.reshape(batch, key_heads, -1, size)


def _blocks(query: torch.Size, key: torch.Size) -> Iterator[slice]:
    batch, heads, length, _ = query
    step = max(1, SCORES_AT_ONCE // max(1, batch * heads * key[2]))
    for start in range(0, max(length, 1), step):
        yield slice(start, min(start + step, length))


def _nothing_to_see(query: Tensor, value: Tensor) -> Attended:
    rows = query.shape[:3]
    return Attended(
        query.new_zeros(*rows, value.shape[-1]),
        query.new_full((*rows, 1), LOWEST),
        query.new_full((*rows, 1), HIGHEST),
    )
