"""Starts the workers of one computer, sees how they end, and starts others in their place."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from cordee.core.programs import ended_how, signal_group
from cordee.train.chips import Chips
from cordee.train.devices import one_chip, variables
from cordee.train.guest.plain import is_plain
from cordee.train.nurseries import Nursery, opened
from cordee.train.nursery import Birth
from cordee.train.tasks import Tasks
from cordee.train.worker.job import PREFIX, Job

END_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What each worker runs."""

    script: str
    """A script for this Python; or the first word of a command."""
    arguments: Sequence[str]
    logs: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    chips: Sequence[int] = ()
    """The chips of this computer; none: workers run on its CPU."""
    most: int | None = None
    """So many workers at once; None: as many as are wanted."""

    @property
    def forked(self) -> bool:
        """Whether workers are forked from a process that has PyTorch: not where it drives chips."""
        return self.script.endswith(".py") and not self.chips

    @property
    def command(self) -> list[str]:
        """A script that is forked with its arguments, or what is executed."""
        python = [sys.executable] if self.script.endswith(".py") and not self.forked else []
        guest = ["-m", "cordee.train.guest.script"] if python and is_plain(self.script) else []
        return [*python, *guest, self.script, *self.arguments]


class Agent:
    """The workers of one computer."""

    def __init__(self, program: Program, job: Job, ended: Callable[[int, str], None]) -> None:
        """`ended` is called with each worker that ended, and how."""
        self._program, self._job, self._ended = program, job, ended
        self._pids: dict[int, int] = {}
        self._begun: dict[int, int] = {}
        """Workers that run, and their ranks."""
        self._local_ranks: dict[int, int] = {}
        self.chips = Chips(program.chips)
        self._beside = Tasks()
        self._nursery: Nursery | None = None

    @property
    def ranks(self) -> dict[int, int]:
        """Workers that run, and the rank of each."""
        return dict(self._begun)

    @property
    def workers(self) -> tuple[int, ...]:
        return tuple(self._begun)

    async def start(self, worker: int, rank: int) -> None:
        """Start a worker. What it writes goes to a file of its own."""
        self._begun[worker] = rank
        log = self._program.logs / f"worker-{worker}.log"
        try:
            await self._bear(worker, log)
        except OSError as error:
            self._end(worker, f"it cannot be started: {error}")

    @property
    def most(self) -> int | None:
        """So many workers can run here; None: as many as are wanted."""
        told = (self._program.most, self.chips.most(time.monotonic()))
        return min((most for most in told if most is not None), default=None)

    def belongs(self, to: str) -> None:
        """Where workers ask for the coordinator, HOST:PORT."""
        self._job = replace(self._job, coordinator=to)

    def signal(self, worker: int, number: signal.Signals) -> None:
        """Send a signal to a worker and to what it started."""
        pid = self._pids.get(worker)
        if pid is not None:
            signal_group(pid, number)

    def kill(self) -> None:
        """End all workers by force."""
        for worker in list(self._begun):
            self.signal(worker, signal.SIGKILL)

    async def stop(self, staying: Collection[int] = ()) -> None:
        """End all of them: those that do not end by themselves by force, but for those that may stay until they do."""
        end_s = asyncio.get_running_loop().time() + END_S
        while self._begun and asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(0.01)
        for worker in self._begun.keys() - staying:
            self.signal(worker, signal.SIGKILL)
        await self._last_words(staying)
        self.kill()
        if self._nursery is not None:
            self._nursery.kill()
        await self._beside.ended()

    async def _last_words(self, staying: Collection[int]) -> None:
        """Wait until they have ended by themselves. One that somebody has stopped never would."""
        loop, since_s = asyncio.get_running_loop(), dict[int, float]()
        while left := self._begun.keys() & staying:
            for worker in left:
                if not _stopped(self._pids.get(worker)):
                    since_s.pop(worker, None)
                elif loop.time() - since_s.setdefault(worker, loop.time()) > END_S:
                    self.signal(worker, signal.SIGKILL)
            await asyncio.sleep(0.01)

    async def _bear(self, worker: int, log: Path) -> None:
        """Have a worker started by the process that does so. Raises `OSError`."""
        if self._nursery is None or self._nursery.ended:
            self._nursery = await opened(
                self._program.logs, self._shared(), warm=self._program.forked
            )
            self._beside.start(self._read(self._nursery))
        program = self._program
        birth = Birth(
            worker=worker,
            forked=program.forked,
            command=tuple(program.command),
            variables=self._variables(worker),
            log=str(log),
        )
        self._nursery.hears.write(msgspec.json.encode(birth) + b"\n")

    async def _read(self, nursery: Nursery) -> None:
        """What the nursery tells of its workers. Those of one that ended are gone, too."""
        async for line in nursery.lines():
            told = json.loads(line)
            if "pid" in told:
                self._pids[told["worker"]] = told["pid"]
            elif "code" in told:
                self._end(told["worker"], how(told["code"]))
        for worker in list(self._begun):
            self.signal(worker, signal.SIGKILL)  # what it left behind
            self._end(worker, "the process that started it has ended")

    def _local_rank(self, worker: int) -> int:
        """The lowest that no other worker has of those that run here."""
        others = self._begun.keys() - {worker}
        taken = {rank for other, rank in self._local_ranks.items() if other in others}
        self._local_ranks[worker] = min(set(range(len(taken) + 1)) - taken)
        return self._local_ranks[worker]

    @property
    def _local_workers(self) -> int:
        """So many of the job's workers can run here."""
        most = self._program.most
        return self._job.workers if most is None else min(most, self._job.workers)

    def _end(self, worker: int, how: str) -> None:
        self._begun.pop(worker, None)
        self._pids.pop(worker, None)
        self.chips.leave(worker)
        self._ended(worker, how)

    def _shared(self) -> dict[str, str]:
        """Variables that do not depend on the worker."""
        made = {"OMP_NUM_THREADS": str(self._program.threads), "PYTHONUNBUFFERED": "1"}
        made |= variables() | self._job.keep.environment()
        if not self._program.chips:
            made["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
        return made

    def _variables(self, worker: int) -> dict[str, str]:
        made = self._shared() | dict(self._program.variables)
        chip = self.chips.take(worker, time.monotonic())
        job = replace(self._job, worker=worker, rank=self._begun[worker])
        if chip is None:  # who sees one chip is by itself
            job = replace(
                job, local_rank=self._local_rank(worker), local_workers=self._local_workers
            )
        made |= job.environment()
        made[f"{PREFIX}AGENT"] = str(os.getpid())
        return made if chip is None else made | one_chip(chip, os.environ)


def _stopped(pid: int | None) -> bool:
    """Whether a process was sent SIGSTOP or the like. Source: proc_pid_stat(5), the field `state`."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def how(code: int) -> str:
    """How the process of a worker has ended, in words."""
    return f"its process {ended_how(code)}"
