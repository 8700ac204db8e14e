"""Faults of workers on a schedule, for rehearsals: at a point of a step a worker is killed, stopped, or errs."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import torch
from torch import Tensor

from cordee.core.errors import UsageError

Point = Literal[
    "forward", "backward", "reduce", "vote", "voted", "apply", "epoch", "form", "feed", "fed"
]
VARIABLE = "CORDEE_TRAIN_FAULTS"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault."""

    worker: int
    step: int
    """The first step at which the worker comes to the point, or a later one."""
    at: Point
    do: Literal["kill", "stop", "raise", "flip", "sleep"] = "kill"
    for_s: float = 0.0
    """How long it sleeps."""


@dataclass(slots=True)
class Faults:
    """Those of one worker that are still to come."""

    left: list[Fault]

    def at(self, point: Point, step: int, buffers: Sequence[Tensor] = ()) -> None:
        """The worker is at a point of a step."""
        if self.left:
            for fault in [f for f in self.left if f.at == point and step >= f.step]:
                self.left.remove(fault)
                _strike(fault, buffers)


def faults_of(worker: int) -> Faults:
    """The schedule in the environment, for one worker. Raises `UsageError` where it is wrong."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return Faults([])
    try:
        faults = msgspec.json.decode(text, type=list[Fault])
    except msgspec.DecodeError as error:
        raise UsageError(f"{VARIABLE}: {error}") from error
    return Faults([fault for fault in faults if fault.worker == worker])


def _strike(fault: Fault, buffers: Sequence[Tensor]) -> None:
    match fault.do:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise ValueError(f"a fault on schedule at step {fault.step}")
        case "sleep":
            time.sleep(fault.for_s)
        case "flip":
            flipped = buffers[0][:1].view(torch.int32)
            flipped ^= 1 << 20
