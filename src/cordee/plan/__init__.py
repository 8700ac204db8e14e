"""What a workload will take on NVIDIA and on Ascend: time, memory, cost, before anyone buys."""

from cordee.plan.asking import ServingAnswer, TrainingAnswer, serve, train

__all__ = ["ServingAnswer", "TrainingAnswer", "serve", "train"]
