"""Training that goes on when a chip falls: `import cordee.train as ct`, and `cordee train` to start it.

training = ct.Training(model, optimizer, shards=8)
for step in training.steps(1000):
    for shard in step:
        loss = model(*batch(step.number, shard))
        step.backward(loss)
    print(step.number, step.loss)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cordee.train.policy.rounds import Cadence
    from cordee.train.worker.replica import mesh
    from cordee.train.worker.step import Step
    from cordee.train.worker.training import Training

__all__ = ["Cadence", "Step", "Training", "mesh"]


def __getattr__(name: str) -> object:
    """The parts that need PyTorch are loaded when they are asked for: policies do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from cordee.train.policy.rounds import Cadence
    from cordee.train.worker.replica import mesh
    from cordee.train.worker.step import Step
    from cordee.train.worker.training import Training

    return {"Cadence": Cadence, "Step": Step, "Training": Training, "mesh": mesh}[name]
