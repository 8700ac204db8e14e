"""The GPT on PyTorch's DistributedDataParallel, with a checkpoint of rank 0 each five steps, under torchrun."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from links import strike
from model import DEVICE, Log, batch, digest, make, turn
from torch.nn.parallel import DistributedDataParallel

EACH = 5
steps, shards, save = int(sys.argv[1]), int(sys.argv[2]), len(sys.argv) > 3
if DEVICE == "npu":
    torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl" if DEVICE == "npu" else "gloo")
rank, world = dist.get_rank(), dist.get_world_size()
model, optimizer = make()
checkpoint = Path(os.environ["STEPS_LOG"] + ".pt")
first = 0
if save and checkpoint.exists():
    state = torch.load(checkpoint)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    first = state["step"]
wrapped = DistributedDataParallel(model)
mine = range(rank * shards // world, (rank + 1) * shards // world)
log = Log()
for step in range(first, steps):
    turn(rank, step)
    strike(rank, step)
    optimizer.zero_grad(set_to_none=True)
    for shard in mine:
        if shard != mine[-1]:
            with wrapped.no_sync():
                (wrapped(*batch(step, shard)) / len(mine)).backward()
        else:
            (wrapped(*batch(step, shard)) / len(mine)).backward()
    optimizer.step()
    log.add(worker=rank, step=step)
    if save and rank == 0 and (step + 1) % EACH == 0:
        state = {"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, f"{checkpoint}.tmp")
        Path(f"{checkpoint}.tmp").replace(checkpoint)
log.add(digest=digest(model))
dist.destroy_process_group()
