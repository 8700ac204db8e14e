"""The GPT on cordee train, each worker with a part of it (FSDP2)."""

import os
import sys

from model import Log, batch, digest, make, optimizer_of, turn
from torch.distributed.fsdp import fully_shard

import cordee.train as ct

steps, shards = int(sys.argv[1]), int(sys.argv[2])
mesh = ct.mesh(data=2)
model, _ = make()
for block in model.blocks:
    fully_shard(block, mesh=mesh)
fully_shard(model, mesh=mesh)
optimizer = optimizer_of(model)
training = ct.Training(model, optimizer, shards=shards)
log, worker = Log(), int(os.environ.get("CORDEE_TRAIN_WORKER", 0))
for step in training.steps(steps):
    turn(worker, step.number)
    for shard in step:
        step.backward(model(*batch(step.number, shard)))
    log.add(worker=worker, step=step.number)
log.add(digest=digest(model), part=mesh.get_local_rank())
