"""What does the virtual chip cost? The same training step on it and on the CPU, side by side.

    cordee run -- python benchmarks/overhead.py [--write]

Steps of both devices alternate within one process with the same number of threads, so that a
noisy machine disturbs both alike; medians are compared. `--write` puts the table into
benchmarks/overhead.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESULT = Path(__file__).with_suffix(".md")
VOCABULARY = 256


@dataclass(frozen=True)
class Shape:
    """A GPT and its batch."""

    name: str
    layers: int
    width: int
    heads: int
    batch: int
    length: int
    rounds: int
    at_most: float  # how many times the CPU's time a step may take


SHAPES = (
    Shape("4 layers, d=256, batch 8x128", 4, 256, 4, 8, 128, rounds=25, at_most=1.25),
    Shape("6 layers, d=768, batch 8x128", 6, 768, 12, 8, 128, rounds=9, at_most=1.10),
)
SMALL_OPERATOR_AT_MOST_US = 15.0  # more than on the CPU


class Block(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.after = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        batch, length, width = x_BTD.shape
        split = (batch, length, self.heads, width // self.heads)
        q, k, v = (
            y.view(split).transpose(1, 2) for y in self.qkv(self.before(x_BTD)).split(width, 2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x_BTD + self.mlp(self.after(x_BTD))


class GPT(nn.Module):
    """A byte-level GPT."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, shape.width)
        self.places = nn.Embedding(shape.length, shape.width)
        self.blocks = nn.Sequential(*(Block(shape.width, shape.heads) for _ in range(shape.layers)))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, VOCABULARY, bias=False)

    def forward(self, x_BT: Tensor) -> Tensor:
        places = torch.arange(x_BT.shape[1], device=x_BT.device)
        return self.head(self.norm(self.blocks(self.tokens(x_BT) + self.places(places))))


def training_step(shape: Shape, device: str) -> Callable[[], float]:
    """A function that does one step of AdamW and gives the loss."""
    torch.manual_seed(0)
    model = GPT(shape).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = torch.Generator().manual_seed(1)

    def step() -> float:
        batch = torch.randint(VOCABULARY, (shape.batch, shape.length + 1), generator=data)
        batch = batch.to(device)
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def side_by_side(cpu: Callable[[], object], npu: Callable[[], object], rounds: int) -> list[float]:
    """Median seconds of one call of `cpu` and of `npu`, called in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 3):
        for call, spent in zip((cpu, npu), times, strict=True):
            begin = time.perf_counter()
            call()
            if number >= 3:  # the first calls allocate
                spent.append(time.perf_counter() - begin)
    return [statistics.median(spent) for spent in times]


def small_operators(device: str) -> Callable[[], None]:
    """A function that adds two small tensors a thousand times."""
    x, y = torch.ones(16, device=device), torch.ones(16, device=device)

    def thousand() -> None:
        for _ in range(1000):
            x + y

    return thousand


def table() -> str:
    """The measurements as a Markdown table."""
    lines = [
        f"Threads: {torch.get_num_threads()}; torch {torch.__version__}. "
        "Written by `cordee run -- python benchmarks/overhead.py --write`.",
        "",
        "| what | virtual chip / CPU | limit |",
        "| --- | --- | --- |",
    ]
    for shape in SHAPES:
        cpu_s, npu_s = side_by_side(
            training_step(shape, "cpu"), training_step(shape, "npu"), shape.rounds
        )
        ratio = npu_s / cpu_s
        lines.append(f"| training step, {shape.name} | {ratio:.2f} times | {shape.at_most:.2f} |")
    cpu_s, npu_s = side_by_side(small_operators("cpu"), small_operators("npu"), 15)
    more_us = (npu_s - cpu_s) / 1000 * 1e6
    lines.append(
        f"| one small operator (add of 16) | {more_us:+.1f} µs, {npu_s / cpu_s:.1f} times "
        f"| +{SMALL_OPERATOR_AT_MOST_US:.0f} µs |"
    )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table beside this script")
    arguments = parser.parse_args()
    if not (hasattr(torch, "npu") and torch.npu.is_available()):
        parser.error("no chip: start it as `cordee run -- python benchmarks/overhead.py`")
    text = table()
    print(text)
    if arguments.write:
        RESULT.write_text(f"# Cost of the virtual chip\n\n{text}")


if __name__ == "__main__":
    main()
