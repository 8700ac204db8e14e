"""A GPT of 10 million parameters, its data as a function of step and shard, and the log of its steps."""

import hashlib
import json
import os
import time

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY, WIDTH, LAYERS, HEADS, LENGTH = 4096, 320, 6, 8, 64
SHARD_ROWS = 4
DEVICE = os.environ.get("DEVICE", "cpu")


class Block(nn.Module):
    """Attention and a feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, _ = x.shape
        parts = self.qkv(self.before(x)).view(rows, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, WIDTH))
        return x + self.down(F.gelu(self.up(self.between(x))))


class Gpt(nn.Module):
    """The model; gives the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            h = block(h)
        return F.cross_entropy(self.head(self.norm(h)).view(-1, VOCABULARY), y.reshape(-1))


def batch(step: int, shard: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(100_003 * step + shard)
    x = torch.randint(0, VOCABULARY, (SHARD_ROWS, LENGTH + 1), generator=generator)
    return x[:, :-1].to(DEVICE), ((x[:, :-1] * 5 + 1) % VOCABULARY).to(DEVICE)


def make() -> tuple[Gpt, torch.optim.Optimizer]:
    """The same for all who make it."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    model = Gpt().to(DEVICE)
    return model, optimizer_of(model)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95))


def digest(model: nn.Module) -> str:
    made = hashlib.sha256()
    for value in model.state_dict().values():
        part = getattr(value, "_local_tensor", value)  # of one that is spread over workers
        made.update(part.detach().cpu().contiguous().numpy().tobytes())
    return made.hexdigest()[:16]


class Log:
    """One line for each step that this process has made."""

    def __init__(self) -> None:
        self._file = open(os.environ["STEPS_LOG"], "a", buffering=1)  # noqa: SIM115 - to its end

    def add(self, **values: object) -> None:
        now = {"time_s": time.time(), "cpu_s": time.process_time()}
        line = now | {"pid": os.getpid(), **values}
        self._file.write(json.dumps(line) + "\n")


def turn(worker: int, step: int) -> None:
    """Before some steps: wait until it is the turn of this program, where several take turns."""
    folder = os.environ.get("STEPS_TURNS")
    if folder and step % int(os.environ["STEPS_EACH"]) == 0:
        with (
            open(f"{folder}/done-{worker}", "wb") as done,
            open(f"{folder}/go-{worker}", "rb") as go,
        ):
            done.write(b"d")
            done.flush()
            go.read(1)
