"""From logits to tokens in PyTorch: what `serve.sampling` does for one row, for all rows of a vLLM step at once."""

import torch
from torch import Tensor

# Chips without arithmetic of 64 bits: there a token may differ from that of a CPU, if hardly ever.
NARROW = frozenset({"npu", "mps"})


def penalised(
    logits: Tensor,
    seen: Tensor | None,
    counts: Tensor | None,
    repetition: float,
    frequency: float,
    presence: float,
) -> Tensor:
    """One row of logits [vocabulary] after penalties, in the order of `serve.sampling`.

    `seen` [vocabulary] says which tokens the prompt or the answer has, `counts` how often the answer.
    """
    scores = logits
    if seen is not None:
        changed = torch.where(scores > 0, scores / repetition, scores * repetition)
        scores = torch.where(seen, changed, scores)
    if counts is not None:
        wide = _wide(scores)
        scores = scores - (frequency * counts.to(wide) + presence * (counts > 0)).float()
    return scores


def drawn(
    scores: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, number: Tensor
) -> Tensor:
    """The tokens [rows] that these random numbers [rows] choose by these scores [rows, vocabulary].

    The order of `serve.sampling`: temperature, min_p, top_k, top_p, and the running sum that passes the number.
    """
    wide = _wide(scores)
    temperature, top_p, min_p, number = (
        values.to(scores.device, wide).unsqueeze(1)
        for values in (temperature, top_p, min_p, number)
    )
    top_k = top_k.to(scores.device).unsqueeze(1)
    weights = ((scores - scores.amax(1, keepdim=True)).to(wide) / temperature).exp()
    weights = torch.where(weights < min_p, 0.0, weights)
    cut = ((top_k > 0) | (top_p < 1)).squeeze(1)
    if not cut.any():
        return _at(weights, number)
    chosen = torch.empty(len(weights), dtype=torch.int64, device=scores.device)
    whole = ~cut
    if whole.any():
        chosen[whole] = _at(weights[whole], number[whole])
    weights, number = weights[cut], number[cut]
    ordered, ids = weights.sort(dim=1, descending=True, stable=True)
    kept = _filtered(ordered, top_k[cut], top_p[cut])
    chosen[cut] = ids.gather(1, _at(kept, number).unsqueeze(1)).squeeze(1)
    return chosen


def _wide(scores: Tensor) -> torch.dtype:
    return torch.float32 if scores.device.type in NARROW else torch.float64


def _filtered(ordered: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Weights, the largest first, without those beyond top_k and top_p."""
    place = torch.arange(ordered.shape[1], device=ordered.device)
    kept = torch.where((top_k <= 0) | (place < top_k), ordered, 0.0)
    target = top_p * kept.sum(1, keepdim=True)
    last = (kept.cumsum(1) < target).sum(1, keepdim=True)
    return torch.where((top_p >= 1) | (place <= last), kept, 0.0)


def _at(weights: Tensor, number: Tensor) -> Tensor:
    """Where the running sums of the weights pass this share of the whole; never one without weight."""
    sums = weights.cumsum(1)
    found = torch.searchsorted(sums, number * sums[:, -1:], right=True).squeeze(1)
    last = weights.shape[1] - 1 - (weights.flip(1) > 0).int().argmax(1)
    return torch.minimum(found, last)
