"""The optimizers and norms of apex, on any chip.

They are apex's own where it is installed, and the same formulas in PyTorch elsewhere.

Arguments, defaults and the layout of saved states are apex's; states of parameters in half
precision are kept in 32 bits, as apex does. Written by `cordee port`; it needs nothing of Cordée.
"""

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Parameters = Iterable[Any]
Closure = Callable[[], Any] | None


class _Adaptive(torch.optim.Optimizer):
    """What FusedAdam and FusedLAMB share: first and second moments, and one step count a group."""

    set_grad_none = True

    def zero_grad(self, set_to_none: bool | None = None) -> None:
        super().zero_grad(self.set_grad_none if set_to_none is None else set_to_none)

    def _groups(self) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            group["step"] = group.get("step", 0) + 1
            for p in parameters:
                if p.grad.is_sparse:
                    raise RuntimeError("sparse gradients are not supported")
                if not self.state[p]:
                    for name in ("exp_avg", "exp_avg_sq"):
                        self.state[p][name] = torch.zeros_like(p, dtype=torch.float32)
            if parameters:
                yield group, parameters

    def _moments(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], first: float
    ) -> list[Tensor]:
        """The step before weight decay: corrected first moment over root of the second."""
        beta1, beta2 = group["betas"]
        averages = [self.state[p]["exp_avg"] for p in parameters]
        squares = [self.state[p]["exp_avg_sq"] for p in parameters]
        torch._foreach_mul_(averages, beta1)
        torch._foreach_add_(averages, gradients, alpha=first)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        corrected = bool(group["bias_correction"])
        correction1 = 1 - beta1 ** group["step"] if corrected else 1.0
        correction2 = 1 - beta2 ** group["step"] if corrected else 1.0
        roots = list(torch._foreach_sqrt(squares))
        torch._foreach_div_(roots, math.sqrt(correction2))
        torch._foreach_add_(roots, group["eps"])
        steps = list(torch._foreach_div(averages, correction1))
        torch._foreach_div_(steps, roots)
        return steps


class FusedAdam(_Adaptive):
    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adam_w_mode: bool = True,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        set_grad_none: bool = True,
        capturable: bool = False,
        master_weights: bool = False,
    ) -> None:
        if amsgrad or capturable or master_weights:
            raise RuntimeError("amsgrad, capturable and master_weights need apex's own FusedAdam")
        defaults = {
            "lr": lr,
            "bias_correction": bias_correction,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)
        self.adam_w_mode = 1 if adam_w_mode else 0
        self.set_grad_none = set_grad_none

    @torch.no_grad()
    def step(self, closure: Closure = None) -> Any:
        loss = _loss(closure)
        for group, parameters in self._groups():
            values = [p.float() for p in parameters]
            gradients = [p.grad.float() for p in parameters if p.grad is not None]
            decay = group["weight_decay"]
            if not self.adam_w_mode and decay:
                gradients = list(torch._foreach_add(gradients, values, alpha=decay))
            first = 1 - group["betas"][0]
            steps = self._moments(group, parameters, gradients, first)
            if self.adam_w_mode and decay:
                torch._foreach_add_(steps, values, alpha=decay)
            new = torch._foreach_add(values, steps, alpha=-group["lr"])
            torch._foreach_copy_(parameters, list(new))
        return loss


class FusedLAMB(_Adaptive):
    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        adam_w_mode: bool = True,
        grad_averaging: bool = True,
        set_grad_none: bool = True,
        max_grad_norm: float = 1.0,
        use_nvlamb: bool = False,
    ) -> None:
        if amsgrad:
            raise RuntimeError("FusedLAMB does not support AMSGrad")
        defaults = {
            "lr": lr,
            "bias_correction": bias_correction,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "grad_averaging": grad_averaging,
            "max_grad_norm": max_grad_norm,
        }
        super().__init__(params, defaults)
        self.adam_w_mode = 1 if adam_w_mode else 0
        self.set_grad_none = set_grad_none
        self.use_nvlamb = use_nvlamb

    @torch.no_grad()
    def step(self, closure: Closure = None) -> Any:
        loss = _loss(closure)
        every = [
            p.grad.float() for g in self.param_groups for p in g["params"] if p.grad is not None
        ]
        if not every:
            return loss
        whole = torch.stack(list(torch._foreach_norm(every))).norm()
        for group, parameters in self._groups():
            longest, decay = group["max_grad_norm"], group["weight_decay"]
            clip = torch.where(whole > longest, whole / longest, torch.ones_like(whole))
            values = [p.float() for p in parameters]
            gradients = [p.grad.float() / clip for p in parameters if p.grad is not None]
            if not self.adam_w_mode and decay:
                gradients = list(torch._foreach_add(gradients, values, alpha=decay))
            first = 1 - group["betas"][0] if group["grad_averaging"] else 1.0
            steps = self._moments(group, parameters, gradients, first)
            if self.adam_w_mode and decay:
                torch._foreach_add_(steps, values, alpha=decay)
            if self.use_nvlamb or decay:
                steps = [step * _trust(p, step) for p, step in zip(values, steps, strict=True)]
            new = torch._foreach_add(values, steps, alpha=-group["lr"])
            torch._foreach_copy_(parameters, list(new))
        return loss


class FusedSGD(torch.optim.SGD):
    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        wd_after_momentum: bool = False,
        materialize_master_grads: bool = True,
        set_grad_none: bool = False,
    ) -> None:
        if wd_after_momentum:
            raise RuntimeError("wd_after_momentum needs apex's own FusedSGD")
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)
        self.set_grad_none = set_grad_none

    def zero_grad(self, set_to_none: bool | None = None) -> None:
        super().zero_grad(self.set_grad_none if set_to_none is None else set_to_none)


class FusedLayerNorm(nn.LayerNorm):
    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine)
        self.memory_efficient = memory_efficient


class MixedFusedLayerNorm(FusedLayerNorm):
    """Its result has the dtype of its weight."""

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, **kwargs: Any) -> None:
        kwargs.pop("elementwise_affine", None)
        super().__init__(normalized_shape, eps, True, **kwargs)

    def forward(self, input: Tensor) -> Tensor:
        cast = input.to(self.weight.dtype)
        return F.layer_norm(cast, self.normalized_shape, self.weight, self.bias, self.eps)


class FusedRMSNorm(nn.Module):
    weight: nn.Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape = torch.Size(shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.memory_efficient = memory_efficient
        weight = nn.Parameter(torch.ones(self.normalized_shape)) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return self._normed(input, input.dtype)

    def _normed(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        same = self.weight is not None and self.weight.dtype == x.dtype == dtype
        if x.device.type == "npu" and same and len(self.normalized_shape) == 1:
            import torch_npu

            fused: Tensor = torch_npu.npu_rms_norm(x, self.weight, epsilon=self.eps)[0]
            return fused
        axes = tuple(range(-len(self.normalized_shape), 0))
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(axes, keepdim=True) + self.eps)
        return (normed if self.weight is None else normed * self.weight.float()).to(dtype)

    def extra_repr(self) -> str:
        return f"{tuple(self.normalized_shape)}, eps={self.eps}"


class MixedFusedRMSNorm(FusedRMSNorm):
    """Its result has the dtype of its weight."""

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, **kwargs: Any) -> None:
        kwargs.pop("elementwise_affine", None)
        super().__init__(normalized_shape, eps, True, **kwargs)

    def forward(self, input: Tensor) -> Tensor:
        return self._normed(input, input.dtype if self.weight is None else self.weight.dtype)


def _loss(closure: Closure) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _trust(values: Tensor, step: Tensor) -> Tensor:
    """How much longer a parameter is than its step; 1 where either is zero."""
    length, distance = values.norm(), step.norm()
    known = (length > 0) & (distance > 0)
    return torch.where(known, length / distance, torch.ones_like(length))


def _with_apex() -> None:
    """Take apex's own classes where it is installed."""
    here = globals()
    optimizers = importlib.import_module("apex.optimizers")
    norms = importlib.import_module("apex.normalization")
    for name in ("FusedAdam", "FusedLAMB", "FusedSGD"):
        here[name] = getattr(optimizers, name)
    for name in ("FusedLayerNorm", "MixedFusedLayerNorm", "FusedRMSNorm", "MixedFusedRMSNorm"):
        here[name] = getattr(norms, name, here[name])


if importlib.util.find_spec("apex") is not None:
    _with_apex()
