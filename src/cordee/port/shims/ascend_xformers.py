"""Memory-efficient attention, gated layers and RMS norms as xformers offers them, on any chip.

They are xformers' own on a GPU that has it, and PyTorch's elsewhere; attention, gated activations of
packed weights and norms are fused operators of torch_npu on Ascend.

Tensors of attention are (batch, sequence, heads, size), (batch, sequence, size) for one head, or
(batch, sequence, groups, heads, size). Written by `cordee port`; it needs nothing of Cordée.
"""

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VENDOR = "xformers.ops"


class LowerTriangularMask:
    """Query i sees the keys up to i, counted from the first."""


class LowerTriangularFromBottomRightMask:
    """The last query sees all keys, each earlier one a key less."""


def memory_efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    if _vendor(query):
        return _vendors(query, key, value, attn_bias, p, scale, op, output_dtype)
    if query.dim() == 3:
        query, key, value = (x.unsqueeze(2) for x in (query, key, value))
        one = memory_efficient_attention(query, key, value, attn_bias, p, scale)
        return _typed(one.squeeze(2), output_dtype)
    if query.dim() == 5:
        groups = query.shape[2:4]
        query, key, value = (x.flatten(2, 3) for x in (query, key, value))
        bias = attn_bias.flatten(1, 2) if isinstance(attn_bias, Tensor) else attn_bias
        whole = memory_efficient_attention(query, key, value, bias, p, scale)
        return _typed(whole.unflatten(2, groups), output_dtype)
    mask, causal = _mask(query, key, attn_bias)
    queries, keys, values = (x.transpose(1, 2) for x in (query, key, value))
    out = F.scaled_dot_product_attention(queries, keys, values, mask, p, causal, scale=scale)
    return _typed(out.transpose(1, 2), output_dtype)


def swiglu(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    w3: Tensor,
    b3: Tensor | None,
    *,
    op: Any = None,
) -> Tensor:
    if _vendor(x):
        own: Tensor = importlib.import_module(VENDOR).swiglu(x, w1, b1, w2, b2, w3, b3, op=op)
        return own
    hidden = F.silu(F.linear(x, w1, b1)) * F.linear(x, w2, b2)
    return F.linear(hidden, w3, b3)


class SwiGLU(nn.Module):
    w12: nn.Linear | None

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = True,
        *,
        _pack_weights: bool = True,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.hidden_features = hidden = hidden_features or in_features
        self.out_features = out_features or in_features
        if _pack_weights:
            self.w12 = nn.Linear(in_features, 2 * hidden, bias=bias)
        else:
            self.w12 = None
            self.w1 = nn.Linear(in_features, hidden, bias=bias)
            self.w2 = nn.Linear(in_features, hidden, bias=bias)
        self.w3 = nn.Linear(hidden, self.out_features, bias=bias)
        self.op = None

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "npu" and self.w12 is not None:
            import torch_npu

            out: Tensor = self.w3(torch_npu.npu_swiglu(self.w12(x), dim=-1))
            return out
        weights, biases = self._halves(_vendor(x))
        w3, b3 = self.w3.weight, self.w3.bias
        return swiglu(x, weights[0], biases[0], weights[1], biases[1], w3, b3, op=self.op)

    def _halves(self, vendor: bool) -> tuple[Any, Any]:
        """Weights and biases: of what is activated, and of what it is multiplied by."""
        if self.w12 is None:
            return (self.w1.weight, self.w2.weight), (self.w1.bias, self.w2.bias)
        # xformers' own knows that its results are one tensor.
        apart = importlib.import_module(VENDOR).unbind if vendor else Tensor.unbind
        packed: tuple[Tensor, Tensor | None] = (self.w12.weight, self.w12.bias)
        weights, biases = (None if x is None else apart(x.unflatten(0, (2, -1)), 0) for x in packed)
        return weights, biases or (None, None)


class RMSNorm(nn.Module):
    weight: nn.Parameter | None

    def __init__(self, dim: int, include_weight: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if include_weight else None

    def forward(self, x: Tensor) -> Tensor:
        if _vendor(x):
            kernel = importlib.import_module(f"{VENDOR}.rmsnorm")
            return kernel.rms_norm(x, self.weight, self.eps)  # type: ignore[no-any-return]
        same = self.weight is not None and self.weight.dtype == x.dtype
        if x.device.type == "npu" and same:
            import torch_npu

            fused: Tensor = torch_npu.npu_rms_norm(x, self.weight, epsilon=self.eps)[0]
            return fused
        normed = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return (normed if self.weight is None else normed * self.weight.float()).to(x.dtype)

    def increment_and_forward_(self, x: Tensor, y: Tensor) -> Tensor:
        x += y
        return self.forward(x)


def _mask(query: Tensor, key: Tensor, bias: Any) -> tuple[Tensor | None, bool]:
    """The mask, or whether it is the usual causal one."""
    if bias is None:
        return None, False
    if isinstance(bias, Tensor):
        heads, queries, keys = query.shape[2], query.shape[1], key.shape[1]
        shaped = bias.unsqueeze(1) if bias.dim() == 3 else bias
        return shaped.expand(query.shape[0], heads, queries, keys).to(query.dtype), False
    kind = bias if isinstance(bias, type) else type(bias)
    if kind.__name__ == "LowerTriangularMask":
        return None, True
    if kind.__name__ == "LowerTriangularFromBottomRightMask":
        queries, keys = query.shape[1], key.shape[1]
        ones = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
        return ones.tril(keys - queries), False
    raise NotImplementedError(f"attention with {kind.__name__} is not written out for this chip")


def _vendors(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Any,
    p: float,
    scale: float | None,
    op: Any,
    output_dtype: torch.dtype | None,
) -> Tensor:
    vendor = importlib.import_module(VENDOR)
    if isinstance(bias, (LowerTriangularMask, LowerTriangularFromBottomRightMask)):
        bias = getattr(vendor.fmha.attn_bias, type(bias).__name__)()
    options = {} if output_dtype is None else {"output_dtype": output_dtype}
    out: Tensor = vendor.memory_efficient_attention(
        query, key, value, attn_bias=bias, p=p, scale=scale, op=op, **options
    )
    return out


def _typed(out: Tensor, dtype: torch.dtype | None) -> Tensor:
    return out if dtype is None else out.to(dtype)


def _vendor(x: Tensor) -> bool:
    """Whether xformers itself is there and runs on this chip."""
    return x.device.type not in ("cpu", "npu") and _installed()


@lru_cache
def _installed() -> bool:
    return importlib.util.find_spec(VENDOR.partition(".")[0]) is not None
