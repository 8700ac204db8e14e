"""A small model that several workers hold together; its last line is a digest of this worker's part of it."""

import argparse
import hashlib
import time
from collections.abc import Callable
from functools import cache

import torch
import torch.distributed as dist
import torch.nn.functional as F
from small import VOCABULARY, Small, batch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

import cordee.train as ct

Compute = Callable[[ct.Step, Tensor, Tensor], None]


def digest(model: nn.Module) -> str:
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(getattr(value, "_local_tensor", value).cpu().contiguous().numpy().tobytes())
    return made.hexdigest()[:16]


def fsdp(model: Small, mesh: DeviceMesh) -> tuple[nn.Module, Compute]:
    from torch.distributed.fsdp import fully_shard

    for layer in (*model.layers, model):
        fully_shard(layer, mesh=mesh)
    return model, lambda step, x, y: step.backward(model(x, y))


def tensor(model: Small, mesh: DeviceMesh) -> tuple[nn.Module, Compute]:
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    whole = Replicate()
    parts = ("layers.0", "layers.1", "head")
    plan = {name: ColwiseParallel(output_layouts=whole) for name in parts}
    parallelize_module(model, mesh, plan, src_data_rank=None)  # each makes its own part
    return model, lambda step, x, y: step.backward(model(x, y))


class Stage(nn.Module):
    """Half of the model."""

    def __init__(self, model: Small, number: int) -> None:
        super().__init__()
        self.embedding = model.embedding if number == 0 else nn.Identity()
        self.layer = model.layers[number]
        self.head = model.head if number == 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x)
        return self.head(h + F.gelu(self.layer(h)))


def pipeline(model: Small, mesh: DeviceMesh) -> tuple[nn.Module, Compute]:
    from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

    group = mesh.get_group("pipeline")
    first = group.rank() == 0
    module = Stage(model, group.rank())
    device = model.head.weight.device
    # Shapes are given: a stage that comes later would ask for them when the others do not.
    tokens = torch.zeros(2, 16, dtype=torch.int64, device=device)
    hidden = torch.zeros(2, 16, 32, device=device, requires_grad=True)
    out = hidden if first else torch.zeros(2, 16, VOCABULARY, device=device, requires_grad=True)

    @cache
    def schedule_for(_: int) -> ScheduleGPipe:
        """One for each epoch: stages agree on how they begin."""
        sizes = (tokens if first else hidden, out)
        stage = PipelineStage(module, group.rank(), 2, device, *sizes, group=group)
        return ScheduleGPipe(
            stage, 2, lambda out, y: F.cross_entropy(out.view(-1, VOCABULARY), y.reshape(-1))
        )

    def compute(step: ct.Step, x: Tensor, y: Tensor) -> None:
        losses: list[Tensor] = []
        schedule = schedule_for(step.epoch)
        if first:
            schedule.step(x)
        else:
            schedule.step(target=y, losses=losses)
        step.computed(torch.stack(losses).mean() if losses else None)

    return module, compute


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["data", "tensor", "pipeline"], default="data")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--shard-s", type=float, default=0.0, help="how long each shard takes more")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    mesh = ct.mesh(**{args.kind: 2})
    make = {"data": fsdp, "tensor": tensor, "pipeline": pipeline}[args.kind]
    model, compute = make(Small().to(args.device), mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    training = ct.Training(model, optimizer, shards=args.shards, mode="exact", clip=1.0)
    for step in training.steps(args.steps):
        for shard in step:
            compute(step, *batch(step.number, shard, args.device))
            time.sleep(args.shard_s)
        print("step", step.number, round(step.loss, 6), len(training.members))
    print(f"digest {dist.get_rank()}-{digest(model)}")


if __name__ == "__main__":
    main()
