"""Choosing the next token: top-k, top-p and min-p filters, and the draws behind them."""

import math

import torch
from torch import Tensor

from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_top_k_top_p"))

LARGEST_K = 1024


@chapter.reference("npu::npu_top_k_top_p")
def top_k_top_p(logits: Tensor, p: Tensor | None = None, k: Tensor | None = None) -> Tensor:
    """`logits` [batch, vocabulary] with -inf at all but the likeliest tokens.

    Kept are the `k[b]` largest and those level with the last of them, and of these the fewest
    that have probability `p[b]` together.
    """
    value, order = torch.sort(logits, dim=-1, stable=True)
    if k is not None:
        last = (logits.shape[-1] - k.long()).clamp(min=0).unsqueeze(-1)
        value = value.masked_fill(value < value.gather(-1, last), -torch.inf)
    if p is not None:
        below = torch.softmax(value.float(), -1).cumsum(-1)
        unlikely = below <= 1 - p.float().unsqueeze(-1)
        unlikely[..., -1] = False
        value = value.masked_fill(unlikely, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, value)


@chapter.reference("npu::npu_top_k_top_p_sample", source=page_of("npu_top_k_top_p_sample"))
def top_k_top_p_sample(
    logits: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    q: Tensor | None = None,
    eps: float | None = 1e-8,
    is_need_logits: bool | None = False,
    top_k_guess: int | None = 32,
    min_ps: Tensor | None = None,
    ks_max: int | None = 1024,
    input_is_logits: bool | None = True,
    post_sample: str | None = "qSample",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The token chosen for each row [batch], and the logits of those it was chosen from."""
    batch, vocabulary = logits.shape
    most = min(LARGEST_K, -(-(ks_max or LARGEST_K) // 8) * 8, vocabulary)
    filtered = torch.full((batch, vocabulary), -torch.inf if input_is_logits else 0.0)
    chosen = torch.empty(batch, dtype=torch.int64)
    for row in range(batch):
        score = logits[row].float()
        k = int(top_k[row])
        token, weight = _ranked(score, k if 1 <= k <= most else None, bool(input_is_logits))
        kept = _likely(weight, float(top_p[row]))
        kept &= _salient(weight, -1.0 if min_ps is None else float(min_ps[row]))
        token, weight = token[kept], weight[kept]
        filtered[row, token] = score[token]
        if post_sample == "multiNomial":
            best = torch.multinomial(weight, 1)[0]
        elif post_sample == "qSample" and q is not None:
            best = (weight / (q[row, : len(weight)].float().abs() + (eps or 0.0))).argmax()
        else:
            best = weight.argmax()
        chosen[row] = token[best]
    return chosen, filtered if is_need_logits else unwritten(logits.shape, torch.float32)


@chapter.reference("npu::npu_sim_exponential_", source=code_of("opapi/SimExponentialNpuOpApi.cpp"))
def sim_exponential_(
    input: Tensor, lambd: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Fill `input` with draws from the exponential distribution of rate `lambd`."""
    require(lambd > 0.0, f"npu_sim_exponential_ expects lambd > 0.0, not {lambd}")
    if math.isinf(lambd):
        return input.zero_()
    return input.exponential_(lambd)


@chapter.reference(
    "npu::npu_random_choice_with_mask", source=code_of("aclops/RandomChoiceWithMaskKernelNpu.cpp")
)
def random_choice_with_mask(
    x: Tensor, count: int = 256, seed: int = 0, seed2: int = 0
) -> tuple[Tensor, Tensor]:
    """Places of `count` true elements of `x` [count, x.dim()], and which rows hold one [count]."""
    require(x.dtype == torch.bool, f"The input.dtype should be bool, but is {x.dtype}")
    require(count > 0, f"The count must be greater than 0, but is {count}")
    places = x.nonzero()
    if len(places) > count:
        generator = torch.Generator().manual_seed(seed + (seed2 << 32)) if seed or seed2 else None
        places = places[torch.randperm(len(places), generator=generator)[:count]]
    found = torch.zeros(count, x.dim(), dtype=torch.int32)
    found[: len(places)] = places.int()
    return found, torch.arange(count) < len(places)


def _ranked(score: Tensor, k: int | None, is_logits: bool) -> tuple[Tensor, Tensor]:
    """The tokens from likeliest on, the best k if k is given, and their weights."""
    value, token = torch.sort(score, descending=True, stable=True)
    value, token = value[:k], token[:k]
    return token, torch.softmax(value, -1) if is_logits else value


def _likely(weight: Tensor, p: float) -> Tensor:
    """Which of the sorted `weight` stand before the point where their sum reaches p."""
    if p >= 1:
        return torch.ones_like(weight, dtype=torch.bool)
    before = weight.cumsum(-1) - weight
    kept = before < p
    kept[0] = True
    return kept


def _salient(weight: Tensor, min_p: float) -> Tensor:
    """Which of the sorted `weight` are at least `min_p` of the largest; one for `min_p` >= 1."""
    if min_p >= 1:
        return torch.arange(len(weight)) == 0
    return weight >= weight[0] * max(min_p, 0.0)
