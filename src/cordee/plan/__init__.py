"""What a workload will take on NVIDIA and on Ascend: time, memory, cost, before anyone buys."""

from cordee.plan.asking import ProgramAnswer, ServingAnswer, TrainingAnswer, program, serve, train

__all__ = ["ProgramAnswer", "ServingAnswer", "TrainingAnswer", "program", "serve", "train"]
