"""Counts the steps of a process's optimizers, and strikes when a fault waits for one.

A step is a call of `step()` that came to its end, as PyTorch's hook on optimizers sees it. One that a
GradScaler leaves out is none. Of several optimizers the one with most steps counts, so that a program
that has two of them per iteration counts iterations.
"""

import ctypes
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from cordee.emulator.faults import striking
from cordee.emulator.faults.memory import Memory
from cordee.emulator.faults.records import Records


class Steps:
    """Steps of this process's optimizers."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._head = Records(memory).head
        self._chip_of = ctypes.CDLL("libascendcl.so").cordee_chip_of
        self._by_optimizer: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()
        self._most = 0

    def __call__(self, optimizer: Optimizer, *_: Any) -> None:
        done = self._by_optimizer.get(optimizer, 0) + 1
        self._by_optimizer[optimizer] = done
        self._most = max(self._most, done)
        chip = self._chip(optimizer)
        if chip is None:
            return
        self._memory.chip(chip).step = self._most
        if self._head.for_steps:
            striking.step(self._memory, chip, self._most)

    def _chip(self, optimizer: Optimizer) -> int | None:
        """The chip that holds the parameters, or else the one in use."""
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        first = next(parameters, None)  # an optimizer of one shard may have none
        if first is not None and first.device.type == "npu":
            device = first.device.index
        elif torch.npu.is_initialized():  # type: ignore[attr-defined]
            device = torch.npu.current_device()  # type: ignore[attr-defined]
        else:
            return None  # a program of the host
        chip = int(self._chip_of(device))
        return chip if chip >= 0 else None


def count() -> None:
    """From now on, count the steps of this process. Raises `CordeeError` off a machine."""
    memory = Memory.of_process()
    register_optimizer_step_post_hook(Steps(memory))
