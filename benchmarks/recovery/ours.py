"""The GPT on cordee train."""

import os
import sys

from model import Log, batch, digest, make

import cordee.train as ct

steps, shards = int(sys.argv[1]), int(sys.argv[2])
model, optimizer = make()
training = ct.Training(model, optimizer, shards=shards)
log = Log()
for step in training.steps(steps):
    for shard in step:
        step.backward(model(*batch(step.number, shard)))
    log.add(worker=int(os.environ.get("CORDEE_TRAIN_WORKER", 0)), step=step.number)
log.add(digest=digest(model))
