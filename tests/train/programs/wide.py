"""A model whose gradient is several buckets; its last line is a digest of all parameters."""

import argparse
import hashlib

import torch
from torch import nn

import cordee.train as ct

WIDTH, LAYERS, STEPS, SHARDS = 1024, 4, 6, 4


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.unused = nn.Parameter(torch.ones(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return x.square().mean()


def rows(step: int, shard: int) -> torch.Tensor:
    return torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1000 * step + shard))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="exact")
    parser.add_argument("--errs", type=int, default=-1, help="a step of which a shard errs once")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    model, erred = Wide(), False
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    training = ct.Training(model, optimizer, shards=SHARDS, mode=args.mode)
    for step in training.steps(STEPS):
        for shard in step:
            loss = model(rows(step.number, shard))
            if step.number == args.errs and shard == SHARDS - 1 and not erred:
                loss, erred = loss * float("nan"), True
            step.backward(loss)
        print("step", step.number, round(step.loss, 6), len(training.members))
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(value.detach().numpy().tobytes())
    print("digest", made.hexdigest()[:16])


if __name__ == "__main__":
    main()
