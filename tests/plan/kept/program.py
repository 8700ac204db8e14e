"""Layers with fused kernels on the virtual chip, and what they keep for their backward pass: a line of JSON.

Norms, functions and attention are torch_npu's kernels, which keep what comes into them. A part is done again as programs
do it: MLPs, experts and attention by `torch.utils.checkpoint`; of what another product reads (norms, functions, queries,
keys and values) the output is let go and made once more when it is asked for.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch_npu
from sizes import (
    CHOSEN,
    EXPERTS,
    HEAD,
    HEADS,
    HIDDEN,
    KV_RANK,
    NARROW,
    PLAIN,
    QUERY_RANK,
    ROPE,
    SEQUENCES,
    SHARED,
    TOKENS,
    WIDE,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def linear(inside: int, outside: int) -> nn.Linear:
    return nn.Linear(inside, outside, bias=False, dtype=torch.bfloat16)


class Again:
    """Outputs that are let go: in place of one, how it is made."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = parts
        self.made: dict[int, tuple[Tensor, Callable[[], Tensor]]] = {}

    def output(self, part: str, make: Callable[..., Tensor], *given: Tensor) -> Tensor:
        """What `make` gives; let go where the part is done again."""
        found = make(*given)
        if part in self.parts:
            plain = [one.detach() for one in given]
            self.made[found.untyped_storage().data_ptr()] = found, lambda: make(*plain)
        return found

    def packed(self, tensor: Tensor) -> Any:
        known = self.made.get(tensor.untyped_storage().data_ptr())
        if known is None:
            return tensor
        found, make = known
        return found.shape, tensor.shape, tensor.stride(), tensor.storage_offset(), make

    def unpacked(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        _, shape, stride, offset, make = packed
        return torch.as_strided(make(), shape, stride, offset)


class Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size, dtype=torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        return torch_npu.npu_rms_norm(x, self.weight)[0]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Of (sequences, tokens, heads x size)."""
    return torch_npu.npu_fusion_attention(q, k, v, HEADS, "BSH", scale=HEAD**-0.5)[0]


class Grouped(nn.Module):
    def __init__(self, again: Again) -> None:
        super().__init__()
        self.again = again
        self.qkv = nn.ModuleList(linear(HIDDEN, HEADS * HEAD) for _ in range(3))
        self.out = linear(HEADS * HEAD, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        made = [one(x) for one in self.qkv]
        if "core_attn" in self.again.parts:
            return self.out(checkpoint(attend, *made, use_reentrant=False))
        return self.out(attend(*made))


class Latent(nn.Module):
    def __init__(self, again: Again) -> None:
        super().__init__()
        self.again = again
        self.down_q, self.down_kv = linear(HIDDEN, QUERY_RANK), linear(HIDDEN, KV_RANK + ROPE)
        self.norm_q, self.norm_kv = Norm(QUERY_RANK), Norm(KV_RANK)
        self.up_q = linear(QUERY_RANK, HEADS * HEAD)
        self.up_k, self.up_v = linear(KV_RANK, HEADS * PLAIN), linear(KV_RANK, HEADS * HEAD)
        self.out = linear(HEADS * HEAD, HIDDEN)

    def whole(self, q: Tensor, short: Tensor, turned: Tensor) -> Tensor:
        normed = self.norm_kv(short)
        made = self.up_k(normed).view(SEQUENCES, TOKENS, HEADS, PLAIN)
        keys = torch.cat((made, turned.unsqueeze(2).expand(-1, -1, HEADS, -1)), dim=-1)
        keys = keys.view(SEQUENCES, TOKENS, HEADS * HEAD)
        return attend(self.up_q(self.norm_q(q)), keys, self.up_v(normed))

    def forward(self, x: Tensor) -> Tensor:
        q = self.down_q(x)
        short, turned = (one.contiguous() for one in self.down_kv(x).split((KV_RANK, ROPE), -1))
        if "mla_up_proj" in self.again.parts:
            return self.out(checkpoint(self.whole, q, short, turned, use_reentrant=False))
        return self.out(self.whole(q, short, turned))


class Mlp(nn.Module):
    def __init__(self, again: Again, size: int, part: str) -> None:
        super().__init__()
        self.again, self.part = again, part
        self.first, self.second = linear(HIDDEN, 2 * size), linear(size, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        between = self.again.output(self.part, torch_npu.npu_swiglu, self.first(x))
        return self.second(between)


class Mixture(nn.Module):
    """Each token goes to `CHOSEN` experts; all have alike many."""

    def __init__(self, again: Again) -> None:
        super().__init__()
        self.again = again
        self.router = linear(HIDDEN, EXPERTS)
        self.experts = nn.ModuleList(Mlp(again, NARROW, "moe_act") for _ in range(EXPERTS))
        self.shared = Mlp(again, SHARED, "mlp_act")

    def forward(self, x: Tensor) -> Tensor:
        flat = x.view(-1, HIDDEN)
        weight = self.router(flat).softmax(-1).mean()
        order = torch.arange(CHOSEN * len(flat), device=x.device) % len(flat)
        sent = self.again.output("moe_tokens", lambda rows: rows.index_select(0, order), flat)
        each = len(order) // EXPERTS
        given = torch.cat(
            [one(sent[n * each : (n + 1) * each]) for n, one in enumerate(self.experts)]
        )
        # `index_add` would keep what is added.
        place = order.unsqueeze(1).expand(-1, HIDDEN)
        found = torch.zeros_like(flat).scatter_add(0, place, given) + weight
        shared = self.shared
        if "shared_experts" in self.again.parts:
            return found.view_as(x) + checkpoint(shared, x, use_reentrant=False)
        return found.view_as(x) + shared(x)


class Layer(nn.Module):
    def __init__(self, kind: str, again: Again) -> None:
        super().__init__()
        self.again = again
        self.norms = nn.ModuleList(Norm(HIDDEN) for _ in range(2))
        self.attention = Latent(again) if kind == "mixture" else Grouped(again)
        self.behind = Mixture(again) if kind == "mixture" else Mlp(again, WIDE, "mlp_act")
        self.whole = "moe" if kind == "mixture" else "mlp"

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.again.output("layernorm", self.norms[0], x))
        normed = self.again.output("layernorm", self.norms[1], x)
        if self.whole in self.again.parts:
            return x + checkpoint(self.behind, normed, use_reentrant=False)
        return x + self.behind(normed)


def kept(kind: str, parts: Sequence[str]) -> int:
    """Bytes of a layer, from pass forward to pass backward, which must still work."""
    again = Again(parts)
    layer = Layer(kind, again).npu()
    x = torch.randn(SEQUENCES, TOKENS, HIDDEN, dtype=torch.bfloat16).npu().requires_grad_()
    before = torch.npu.memory_allocated()
    with torch.autograd.graph.saved_tensors_hooks(again.packed, again.unpacked):
        found = checkpoint(layer, x, use_reentrant=False) if "full" in parts else layer(x)
    again.made.clear()
    # What comes out stands for what came in, which was there before.
    after = torch.npu.memory_allocated()
    found.sum().backward()
    assert x.grad is not None
    assert all(one.grad is not None for one in layer.parameters())
    return after - before


if __name__ == "__main__":
    for line in sys.argv[1:]:
        kind, *parts = line.split(",")
        print(json.dumps({"asked": line, "bytes": kept(kind, parts)}), flush=True)
