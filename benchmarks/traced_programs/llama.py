"""Llama 2 7B in plain PyTorch, token after token for one reader: every operator is called from Python."""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, WIDTH, HEADS, INNER, LENGTH = 32000, 4096, 32, 11008, 256
SIZE = WIDTH // HEADS


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        wide = x.float()
        scaled = wide * torch.rsqrt(torch.mean(wide * wide, dim=-1, keepdim=True) + 1e-5)
        return scaled.type_as(x) * self.weight


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.three = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(1, HEADS, LENGTH, SIZE))

    def forward(self, x, angles, mask, at):
        parts = self.three(x).split(WIDTH, dim=-1)
        q, k, v = (p.view(1, x.shape[1], HEADS, SIZE) for p in parts)
        q, k = turned(q, angles), turned(k, angles)
        q, k, v = (p.transpose(1, 2) for p in (q, k, v))
        self.keys[:, :, at] = k
        self.values[:, :, at] = v
        mixed = F.scaled_dot_product_attention(q, self.keys, self.values, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).contiguous().view(1, x.shape[1], WIDTH))


def turned(x, angles):
    pairs = x.float().reshape(*x.shape[:-1], -1, 2)
    cos, sin = angles.view(1, pairs.size(1), 1, pairs.size(3), 2).unbind(-1)
    even, odd = pairs[..., 0], pairs[..., 1]
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(3).type_as(x)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_1, self.attention, self.norm_2 = Norm(), Attention(), Norm()
        self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x, angles, mask, at):
        h = x + self.attention(self.norm_1(x), angles, mask, at)
        wide = self.norm_2(h)
        return h + self.down(F.silu(self.gate(wide)) * self.up(wide))


class Llama(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm, self.head = Norm(), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.register_buffer("angles", torch.rand(LENGTH, SIZE // 2, 2))
        self.register_buffer("mask", torch.tril(torch.ones(LENGTH, LENGTH, dtype=torch.bool)))

    def forward(self, x, at):
        mask, angles, h = self.mask[None, None, at], self.angles[at], self.tokens(x)
        for layer in self.layers:
            h = layer(h, angles, mask, at)
        return self.head(self.norm(h))


def drawn(logits):
    best, _ = torch.topk(logits / 0.8, 200)
    logits = torch.where(logits < best.select(-1, -1).unsqueeze(-1), -float("inf"), logits)
    chances = torch.softmax(logits, dim=-1)
    return torch.argmax(chances / torch.empty_like(chances).exponential_(1), -1, keepdim=True)


words = argparse.ArgumentParser()
words.add_argument("--layers", type=int, default=32)
asked = words.parse_args()
with torch.no_grad():
    model = Llama(asked.layers).to(torch.bfloat16).to("cuda")
    token = drawn(
        model(torch.arange(6, device="cuda")[None], torch.arange(6, device="cuda"))[:, -1]
    )
    at = torch.tensor([6], device="cuda")
    for _ in range(6):
        token = drawn(model(token.view(1, -1), at)[:, -1])
        at += 1
