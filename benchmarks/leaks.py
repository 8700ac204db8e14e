"""Does a long run leak? Ten thousand steps of a small model, and what the process holds as they go.

    cordee run -- python benchmarks/leaks.py [--steps 10000] [--write]

Looked at after the first tenth, when every cache is full, and at the end: the process's resident
memory, its mappings (each allocation of a chip has two), its descriptors and threads, and what the
adapter counts on the chip. Exit code 1 if any has grown. `--write` puts the table into
benchmarks/leaks.md.
"""

import argparse
import gc
import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

RESULT = Path(__file__).with_suffix(".md")

# The host's allocator keeps pages for later; a leak of 1 KB a step is twice this in 10,000 steps.
RESIDENT_AT_MOST_BYTES = 5 * 10**6
# The host splits and joins its own; one leaked in every step would be two for each of them.
MAPPINGS_AT_MOST = 16


@dataclass(frozen=True)
class Held:
    """What the process holds at one moment."""

    resident_bytes: int
    mappings: int
    mapped_bytes: int
    descriptors: int
    threads: int
    chip_bytes: int
    reserved_bytes: int

    @classmethod
    def now(cls) -> "Held":
        gc.collect()
        torch.npu.synchronize()
        own = Path("/proc/self")
        pages = [int(n) for n in (own / "statm").read_text().split()]
        return cls(
            resident_bytes=pages[1] * os.sysconf("SC_PAGE_SIZE"),
            mappings=len((own / "maps").read_text().splitlines()),
            mapped_bytes=pages[0] * os.sysconf("SC_PAGE_SIZE"),
            descriptors=len(os.listdir(own / "fd")),
            threads=len(os.listdir(own / "task")),
            chip_bytes=torch.npu.memory_allocated(),
            reserved_bytes=torch.npu.memory_reserved(),
        )


class Net(nn.Module):
    """Small, with the operators of a language model: embedding, attention, norm, dropout."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(64, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 64)

    def forward(self, x_BT: torch.Tensor) -> torch.Tensor:
        x_BTD = self.tokens(x_BT)
        q, k, v = (y.unsqueeze(1) for y in self.qkv(x_BTD).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1)
        return self.head(F.dropout(self.norm(x_BTD + mixed), 0.1))


def watch(steps: int) -> tuple[Held, Held]:
    """What the process holds after a tenth of the steps and after all of them."""
    torch.manual_seed(0)
    model = Net().npu()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    side = torch.npu.Stream()
    early = None
    for step in range(steps):
        batch = torch.randint(64, (4, 17)).pin_memory()
        with torch.npu.stream(side):
            batch = batch.to("npu", non_blocking=True)
        torch.npu.current_stream().wait_stream(side)
        event = torch.npu.Event(enable_timing=True)
        event.record()
        with torch.autocast("npu", dtype=torch.bfloat16):
            logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        del batch, logits, loss, event
        if step + 1 == steps // 10:
            early = Held.now()
    assert early is not None
    return early, Held.now()


def has_grown(name: str, early: int, late: int) -> bool:
    """Whether the growth is more than what the host's allocator may keep."""
    if name.endswith("bytes"):
        return late - early > RESIDENT_AT_MOST_BYTES
    return late - early > (MAPPINGS_AT_MOST if name == "mappings" else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--write", action="store_true", help="put the table beside this script")
    arguments = parser.parse_args()
    if not (hasattr(torch, "npu") and torch.npu.is_available()):
        parser.error("no chip: start it as `cordee run -- python benchmarks/leaks.py`")
    early, late = watch(arguments.steps)
    lines = [
        f"| held by the process | after {arguments.steps // 10} steps | after {arguments.steps} |",
        "| --- | ---: | ---: |",
    ]
    leaks = []
    for field in fields(Held):
        before, after = getattr(early, field.name), getattr(late, field.name)
        lines.append(f"| {field.name.replace('_', ' ')} | {before:,} | {after:,} |")
        if has_grown(field.name, before, after):
            leaks.append(field.name)
    text = "\n".join([*lines, ""])
    print(text)
    if arguments.write:
        RESULT.write_text(f"# Does a long run leak?\n\n{text}")
    if leaks:
        sys.exit(f"grown: {', '.join(leaks)}")


if __name__ == "__main__":
    main()
