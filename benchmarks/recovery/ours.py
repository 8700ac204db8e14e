"""The GPT on cordee train."""

import os
import sys

from model import Log, batch, digest, make, turn

import cordee.train as ct

steps, shards = int(sys.argv[1]), int(sys.argv[2])
model, optimizer = make()
training = ct.Training(model, optimizer, shards=shards)
log, worker = Log(), int(os.environ.get("CORDEE_TRAIN_WORKER", 0))
for step in training.steps(steps):
    turn(worker, step.number)
    for shard in step:
        step.backward(model(*batch(step.number, shard)))
    log.add(worker=worker, step=step.number)
log.add(digest=digest(model))
