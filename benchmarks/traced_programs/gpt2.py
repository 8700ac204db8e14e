"""GPT-2 with 124 million parameters as it is trained in plain PyTorch: attention in three kernels, AdamW."""

import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, LENGTH, WIDTH, HEADS = 50304, 1024, 768, 12


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.three = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.register_buffer("seen", torch.tril(torch.ones(LENGTH, LENGTH))[None, None])

    def forward(self, x):
        batch, length, _ = x.shape
        parts = self.three(x).split(WIDTH, dim=2)
        q, k, v = (p.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2) for p in parts)
        if asked.flash:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(mixed.transpose(1, 2).contiguous().view(batch, length, WIDTH))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.seen[:, :, :length, :length] == 0, float("-inf"))
        mixed = F.softmax(scores, dim=-1) @ v
        return self.out(mixed.transpose(1, 2).contiguous().view(batch, length, WIDTH))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_1, self.attention = nn.LayerNorm(WIDTH, bias=False), Attention()
        self.norm_2 = nn.LayerNorm(WIDTH, bias=False)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.narrow(F.gelu(self.wide(self.norm_2(x))))


class GPT2(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.tokens.weight = self.head.weight

    def forward(self, x, y):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            h = block(h)
        return F.cross_entropy(self.head(self.norm(h)).flatten(0, 1), y.flatten())


words = argparse.ArgumentParser()
words.add_argument("--layers", type=int, default=12)
words.add_argument("--batch", type=int, default=4)
words.add_argument("--autocast", action="store_true")
words.add_argument("--flash", action="store_true")
asked = words.parse_args()

model = GPT2(asked.layers).to("cuda")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
x = torch.randint(VOCABULARY, (asked.batch, LENGTH), device="cuda")
y = torch.randint(VOCABULARY, (asked.batch, LENGTH), device="cuda")
for _ in range(2):
    with torch.autocast("cuda", torch.bfloat16, enabled=asked.autocast):
        loss = model(x, y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    print(loss.item())
