"""Faults of workers on a schedule, for rehearsals: at a point of a step a worker is killed, stopped, or errs."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import torch
from torch import Tensor

from cordee.core.errors import UsageError
from cordee.train.wire import Told
from cordee.train.worker.cut import cut
from cordee.train.worker.early import buckets_of
from cordee.train.worker.gradients import Layout
from cordee.train.worker.job import PREFIX
from cordee.train.worker.spread import part_of
from cordee.train.worker.state import Trained

Point = Literal[
    "forward",
    "backward",
    "bucket",
    "reduce",
    "vote",
    "voted",
    "apply",
    "epoch",
    "form",
    "wait",
    "feed",
    "stream",
    "fed",
]
Do = Literal[
    "kill",
    "stop",
    "kill-coordinator",
    "stop-coordinator",
    "kill-agent",
    "stop-agent",
    "raise",
    "flip",
    "flip-parameter",
    "flip-optimizer",
    "nan",
    "sleep",
    "link-down",
    "link-slow",
    "run",
]
SPOILING: tuple[Do, ...] = ("flip", "nan")
VARIABLE = "CORDEE_TRAIN_FAULTS"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault."""

    worker: int
    step: int
    """The first step at which the worker comes to the point, or a later one."""
    at: Point
    do: Do = "kill"
    for_s: float = 0.0
    """How long it sleeps, or a link is down or slow; of a link 0: for good."""
    other: int = -1
    """The worker at the other end of the link; -1: the coordinator."""
    bytes_per_s: int = 0
    """What a slow link carries."""
    command: str = ""
    """What is run, by a shell, and waited for."""
    bit: int = 20
    """Of a number: the one that is turned."""
    shard: int = -1
    """Only while it computes this shard; -1: whichever."""
    bucket: int = -1
    """Only when this bucket of the gradient is about to be summed; -1: whichever."""
    each: bool = False
    """Not once, but whenever it comes there from that step on."""


@dataclass(slots=True)
class Faults:
    """Those of one worker that are still to come."""

    left: list[Fault]
    trained: Trained
    layout: Layout
    gradient: Sequence[Tensor] = ()
    """Of the shard at hand; once it is there, the sum over all shards."""
    shard: int = -1
    reach: dict[int, str] = field(default_factory=dict)
    """Where workers are fed, HOST:PORT, as far as it is known,"""
    coordinator: Callable[[], str] = lambda: ""
    """and where the coordinator is."""
    say: Callable[[Told], None] = lambda told: None
    """Has something written down in the journal."""
    told: set[Fault] = field(default_factory=set)

    def spoils(self, step: int) -> bool:
        """Whether what a backward pass makes is changed when it has ended: nobody may have got any of it then."""
        return any(f.at == "backward" and f.do in SPOILING and step >= f.step for f in self.left)

    def at(self, point: Point, step: int, bucket: int = -1) -> None:
        """The worker is at a point of a step."""
        for fault in [f for f in self.left if f.at == point and step >= f.step]:
            if fault.shard in (-1, self.shard) and fault.bucket in (-1, bucket):
                if not fault.each:
                    self.left.remove(fault)
                if fault not in self.told:
                    self.told.add(fault)
                    self.say(Told("struck", {"do": fault.do, "at": point, "step": step}))
                self._strike(fault, bucket)

    def _strike(self, fault: Fault, bucket: int) -> None:
        match fault.do:
            case "kill" | "stop":
                _signal(fault.do, [os.getpid()])
            case "kill-coordinator" | "stop-coordinator":
                _signal(fault.do, _coordinators(_agent()))
            case "kill-agent" | "stop-agent":
                _signal(fault.do, [_agent()])
            case "raise":
                raise ValueError(f"a fault on schedule at step {fault.step}")
            case "sleep":
                time.sleep(fault.for_s)
            case "link-down" | "link-slow":
                others = os.environ.get(f"{PREFIX}OTHERS", "").split()
                to = self.reach[fault.other] if fault.other >= 0 else self.coordinator()
                cut(to, fault.bytes_per_s, fault.for_s, others)
            case "run":
                subprocess.run(fault.command, shell=True, check=True)
            case "nan":
                self.gradient[0][:1] = float("nan")
            case _:
                _flip(self._struck(fault.do, bucket), fault.bit)

    def _struck(self, do: Do, bucket: int) -> Tensor:
        """Where a bit is flipped."""
        first = self.trained.parameters[0]
        if do == "flip-parameter":
            return part_of(first).detach()
        if do == "flip-optimizer":
            kept = self.trained.optimizer.state[first]
            return next(
                part_of(v) for v in kept.values() if isinstance(v, Tensor) and v.numel() > 1
            )
        made = None
        if bucket >= 0:  # as the backward pass has made it
            made = self.layout.parameters[buckets_of(self.layout)[bucket].parameters[0]].grad
        return self.gradient[0][: self.layout.parts[0].numbers - 1] if made is None else made


def faults_of(worker: int, trained: Trained, layout: Layout) -> Faults:
    """The schedule in the environment, for one worker. Raises `UsageError` where it is wrong."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return Faults([], trained, layout)
    try:
        faults = msgspec.json.decode(text, type=list[Fault])
    except msgspec.DecodeError as error:
        raise UsageError(f"{VARIABLE}: {error}") from error
    return Faults([fault for fault in faults if fault.worker == worker], trained, layout)


def _signal(do: Do, processes: Iterable[int]) -> None:
    for process in processes:
        os.kill(process, signal.SIGSTOP if do.startswith("stop") else signal.SIGKILL)


def _agent() -> int:
    """The process of this host's agent."""
    return int(os.environ[f"{PREFIX}AGENT"])


def _coordinators(agent: int) -> list[int]:
    """The process of the coordinator, if the agent has started one."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    found = [int(c) for c in children if b"cordee.train.chair" in _command(c)]
    return found[:1]  # those after it only wait


def _command(process: str) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def _flip(tensor: Tensor, bit: int) -> None:
    """Turn one bit of its largest number: of one that is zero it might change nothing."""
    numbers = tensor.detach().view(-1)
    largest = int(numbers.abs().argmax())
    bits = numbers[largest : largest + 1].view(torch.int32)
    bits ^= 1 << bit
