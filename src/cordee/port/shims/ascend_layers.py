"""The norms, gated activations and losses of flash_attn, on any chip.

They are flash_attn's own on a GPU that has it, and the same formulas in PyTorch elsewhere; plain
RMS norms are the fused operator of torch_npu on Ascend.

Arguments and results are those of flash_attn 2.8. Sums are made in single precision, as its kernels
make them. Written by `cordee port`; it needs nothing of Cordée.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

VENDOR = "flash_attn"


def swiglu(x: Tensor, y: Tensor) -> Tensor:
    if _vendor(x):
        return _original("ops.activations", "swiglu")(x, y)  # type: ignore[no-any-return]
    return (F.silu(x.float()) * y.float()).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    if _vendor(x):
        return _original("ops.rms_norm", "rms_norm")(x, weight, epsilon)  # type: ignore[no-any-return]
    return rms_norm_fn(x, weight, None, eps=epsilon)  # type: ignore[no-any-return]


def layer_norm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    x1: Tensor | None = None,
    weight1: Tensor | None = None,
    bias1: Tensor | None = None,
    eps: float = 1e-6,
    dropout_p: float = 0.0,
    rowscale: Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    zero_centered_weight: bool = False,
    is_rms_norm: bool = False,
    return_dropout_mask: bool = False,
    out_dtype: torch.dtype | None = None,
    out: Tensor | None = None,
    residual_out: Tensor | None = None,
) -> Any:
    """The norm of the sum of `x`, `x1` and `residual`; with `prenorm`, the sum as well."""
    if _vendor(x):
        return _call("ops.triton.layer_norm", layer_norm_fn, locals())
    if rowscale is not None and x1 is not None:
        raise ValueError("rowscale is not for two inputs side by side")
    wide, masks = x.float(), []
    if rowscale is not None:
        wide = wide * rowscale.float()[..., None]
    wide, mask = _dropped(wide, dropout_p)
    masks.append(mask)
    if x1 is None:
        masks.append(None)
    else:
        other, mask = _dropped(x1.float(), dropout_p)
        masks.append(mask)
        wide = wide + other
    if residual is not None:
        wide = wide + residual.float()
    kept = torch.float32 if residual_in_fp32 else x.dtype
    summed = wide.to(kept if residual is None else residual.dtype)
    pairs = [(weight, bias)] if weight1 is None else [(weight, bias), (weight1, bias1)]
    made = [
        _normed(wide, w, b, eps, zero_centered_weight, is_rms_norm).to(out_dtype or x.dtype)
        for w, b in pairs
    ]
    if out is not None:
        made[0] = out.copy_(made[0])
    if prenorm:
        made.append(summed if residual_out is None else residual_out.copy_(summed))
    results = (*made, *masks) if return_dropout_mask else tuple(made)
    return results if len(results) > 1 else results[0]


def rms_norm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    x1: Tensor | None = None,
    weight1: Tensor | None = None,
    bias1: Tensor | None = None,
    eps: float = 1e-6,
    dropout_p: float = 0.0,
    rowscale: Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    zero_centered_weight: bool = False,
    return_dropout_mask: bool = False,
    out_dtype: torch.dtype | None = None,
    out: Tensor | None = None,
    residual_out: Tensor | None = None,
) -> Any:
    given = dict(locals())
    if _vendor(x):
        return _call("ops.triton.layer_norm", rms_norm_fn, given)
    added = [residual, x1, weight1, bias, rowscale, out, out_dtype]
    plain = all(each is None for each in added) and not (dropout_p or prenorm)
    same = weight.dtype == x.dtype and not (zero_centered_weight or return_dropout_mask)
    if x.device.type == "npu" and plain and same:
        import torch_npu

        return torch_npu.npu_rms_norm(x, weight, epsilon=eps)[0]
    return layer_norm_fn(**given, is_rms_norm=True)


class RMSNorm(nn.Module):
    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        dropout_p: float = 0.0,
        zero_centered_weight: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.drop = nn.Dropout(dropout_p) if dropout_p > 0.0 else None
        self.zero_centered_weight = zero_centered_weight
        self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 0.0 if self.zero_centered_weight else 1.0)

    def forward(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
    ) -> Any:
        return rms_norm_fn(
            x,
            self.weight,
            None,
            residual=residual,
            eps=self.eps,
            dropout_p=self.drop.p if self.drop is not None and self.training else 0.0,
            prenorm=prenorm,
            residual_in_fp32=residual_in_fp32,
            zero_centered_weight=self.zero_centered_weight,
        )


def cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    precomputed_lse: Tensor | None = None,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    lse_square_scale: float = 0.0,
    ignore_index: int = -100,
    inplace_backward: bool = False,
    process_group: Any = None,
) -> Any:
    """The loss of each row, and what `lse_square_scale` adds to it.

    With a process group each rank has a part of the classes, in the order of ranks.
    """
    if _vendor(logits):
        return _call("ops.triton.cross_entropy", cross_entropy_loss, locals())
    ranks = 1 if process_group is None else dist.get_world_size(process_group)
    first = 0 if ranks == 1 else dist.get_rank(process_group) * logits.shape[1]
    wide = logits.float() * logit_scale
    lse = _joined(torch.logsumexp(wide, 1), process_group, ranks)
    places = labels.long() - first
    here = (places >= 0) & (places < wide.shape[1])
    chosen = wide.gather(1, places.clamp(0, wide.shape[1] - 1)[:, None])[:, 0]
    chosen = _summed(torch.where(here, chosen, 0.0), process_group, ranks)
    losses = lse - (1 - label_smoothing) * chosen
    if label_smoothing:
        total = _summed(wide.sum(1), process_group, ranks)
        losses = losses - label_smoothing / (wide.shape[1] * ranks) * total
    if ranks == 1:  # a label that is no class takes no part, but in what is smoothed
        losses = torch.where(here, losses, losses - (1 - label_smoothing) * lse)
    extra = lse_square_scale * lse.square()
    ignored = labels == ignore_index
    losses = (losses + extra if lse_square_scale else losses).masked_fill(ignored, 0.0)
    return losses, extra.detach().masked_fill(ignored, 0.0)


class CrossEntropyLoss(nn.Module):
    def __init__(
        self,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        logit_scale: float = 1.0,
        lse_square_scale: float = 0.0,
        inplace_backward: bool = False,
        process_group: Any = None,
        return_z_loss: bool = False,
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "none", "sum"):
            raise NotImplementedError("reduction is 'mean', 'none' or 'sum'")
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.logit_scale = logit_scale
        self.lse_square_scale = lse_square_scale
        self.inplace_backward = inplace_backward
        self.process_group = process_group
        self.return_z_loss = return_z_loss

    def forward(self, input: Tensor, target: Tensor, precomputed_lse: Tensor | None = None) -> Any:
        found = cross_entropy_loss(
            input,
            target,
            precomputed_lse,
            label_smoothing=self.label_smoothing,
            logit_scale=self.logit_scale,
            lse_square_scale=self.lse_square_scale,
            ignore_index=self.ignore_index,
            inplace_backward=self.inplace_backward,
            process_group=self.process_group,
        )
        losses, extra = found if isinstance(found, tuple) else (found, torch.zeros_like(found))
        both = (self._reduced(losses, target), self._reduced(extra, target))
        return both if self.return_z_loss else both[0]

    def _reduced(self, losses: Tensor, target: Tensor) -> Tensor:
        if self.reduction == "none":
            return losses
        counted = (target != self.ignore_index).sum() if self.reduction == "mean" else 1
        return losses.sum() / counted


def _dropped(x: Tensor, p: float) -> tuple[Tensor, Tensor | None]:
    """`x` with a share `p` of it gone, and which of it is kept."""
    if not p:
        return x, None
    mask = torch.rand_like(x) > p
    return torch.where(mask, x / (1 - p), 0.0), mask


def _normed(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, zero_centered: bool, rms: bool
) -> Tensor:
    scale = weight.float() + 1.0 if zero_centered else weight.float()
    shift = None if bias is None else bias.float()
    if not rms:
        return F.layer_norm(x, x.shape[-1:], scale, shift, eps)
    normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * scale
    return normed if shift is None else normed + shift


def _joined(lse: Tensor, group: Any, ranks: int) -> Tensor:
    """The logarithm of all ranks' sums, differentiable in this rank's own."""
    if ranks == 1:
        return lse
    every = [torch.empty_like(lse) for _ in range(ranks)]
    dist.all_gather(every, lse.detach().contiguous(), group=group)
    own = dist.get_rank(group)
    others = torch.stack([x for rank, x in enumerate(every) if rank != own]).logsumexp(0)
    return torch.logaddexp(lse, others)


def _summed(x: Tensor, group: Any, ranks: int) -> Tensor:
    """The sum over ranks, differentiable in this rank's own."""
    if ranks == 1:
        return x
    total = x.detach().clone()
    dist.all_reduce(total, group=group)
    return x + (total - x.detach())


def _vendor(x: Tensor) -> bool:
    """Whether flash_attn itself is there and runs on this chip."""
    return x.device.type not in ("cpu", "npu") and _installed()


@lru_cache
def _installed() -> bool:
    return importlib.util.find_spec(VENDOR) is not None


def _call(module: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What flash_attn gives: what is left at its default is left out, as older versions lack it."""
    usual = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    given = {n: v for n, v in arguments.items() if isinstance(v, Tensor) or v != usual[n]}
    return _original(module, function.__name__)(**given)


def _original(module: str, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(importlib.import_module(f"{VENDOR}.{module}"), name)
    return found
