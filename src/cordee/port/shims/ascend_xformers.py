"""Memory-efficient attention as xformers offers it, on any chip.

It is xformers' own on a GPU that has it, and PyTorch's attention elsewhere, which torch_npu runs as
a fused operator on Ascend.

Tensors are (batch, sequence, heads, size), (batch, sequence, size) for one head, or
(batch, sequence, groups, heads, size). Written by `cordee port`; it needs nothing of Cordée.
"""

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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
    if query.device.type not in ("cpu", "npu") and _installed():
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


@lru_cache
def _installed() -> bool:
    return importlib.util.find_spec(VENDOR.partition(".")[0]) is not None
