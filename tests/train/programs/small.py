"""A small model on data that follow from step and shard; its last line is a digest of all parameters."""

import argparse
import hashlib
import time

import torch
import torch.nn.functional as F
from torch import nn

import cordee.train as ct

VOCABULARY = 128


class Small(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.embedding(x)
        for layer in self.layers:
            h = h + F.gelu(layer(h))
        logits = self.head(self.dropout(h))
        return F.cross_entropy(logits.view(-1, VOCABULARY), y.reshape(-1))


def batch(step: int, shard: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1000 * step + shard)
    x = torch.randint(0, VOCABULARY, (4, 17), generator=generator)
    return x[:, :-1].to(device), ((7 * x[:, :-1] + 3) % VOCABULARY).to(device)


def digest(model: nn.Module) -> str:
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(value.detach().cpu().contiguous().numpy().tobytes())
    return made.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--shard-s", type=float, default=0.0, help="how long each shard takes more")
    parser.add_argument("--checkpoint", help="a folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warmup", type=int, default=6, help="steps before mode local begins")
    parser.add_argument("--apart", type=float, default=0.01, help="how far workers may be then")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    model = Small().to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, 1000)  # another rate each step
    cadence = ct.Cadence(
        warmup=args.warmup, fragments=2, steps=6, least=4, most=8, apart=args.apart
    )
    training = ct.Training(
        model,
        optimizer,
        shards=args.shards,
        mode="exact",
        clip=1.0,
        schedulers=[schedule],
        cadence=cadence,
        checkpoint=args.checkpoint,
        checkpoint_every=5,
    )
    for step in training.steps(args.steps):
        for shard in step:
            step.backward(model(*batch(step.number, shard, args.device)))
            time.sleep(args.shard_s)
        print("step", step.number, round(step.loss, 6), len(training.members))
    print("digest", digest(model))


if __name__ == "__main__":
    main()
