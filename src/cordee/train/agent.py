"""Starts the workers of one computer, sees how they end, and starts others in their place."""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cordee.train.worker.job import Job

PR_SET_PDEATHSIG = 1  # linux/prctl.h
FUTILE_MOST = 3
"""So many workers in a row that ended before they were ready are enough."""
END_S = 5.0
_prctl = ctypes.CDLL(None).prctl


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What each worker runs."""

    command: Sequence[str]
    logs: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    chips: Sequence[int] = ()
    """The chips of this computer; none: workers run on its CPU."""


class Agent:
    """The workers of one computer."""

    def __init__(self, program: Program, job: Job, ended: Callable[[int, str], None]) -> None:
        """`ended` is called with each worker that ended, and how."""
        self._program, self._job, self._ended = program, job, ended
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._chips: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.futile = 0

    @property
    def workers(self) -> tuple[int, ...]:
        return tuple(self._running)

    def pid(self, worker: int) -> int:
        return self._running[worker].pid

    async def start(self, worker: int) -> None:
        """Start a worker. What it writes goes to a file of its own."""
        environment = os.environ | self._variables(worker)
        with (self._program.logs / f"worker-{worker}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                preexec_fn=_dies_with_parent,
            )
        self._running[worker] = process
        task = asyncio.get_running_loop().create_task(self._follow(worker, process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def signal(self, worker: int, number: signal.Signals) -> None:
        """Send a signal to a worker and to what it started."""
        process = self._running.get(worker)
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    async def stop(self) -> None:
        """End all of them: those that do not end by themselves by force."""
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        for worker in list(self._running):
            self.signal(worker, signal.SIGKILL)
        await asyncio.gather(*tasks)

    async def _follow(self, worker: int, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left behind
        self._running.pop(worker, None)
        self._chips.pop(worker, None)
        self._ended(worker, _how(code))

    def _variables(self, worker: int) -> dict[str, str]:
        made = dict(self._program.variables) | replace(self._job, worker=worker).environment()
        made |= {"OMP_NUM_THREADS": str(self._program.threads), "PYTHONUNBUFFERED": "1"}
        chip = self._free_chip()
        if chip is None:
            made["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
        else:
            self._chips[worker] = chip
            made["ASCEND_RT_VISIBLE_DEVICES"] = str(chip)
        return made

    def _free_chip(self) -> int | None:
        """One that no worker has; of all taken ones the first."""
        taken = set(self._chips.values())
        free = [chip for chip in self._program.chips if chip not in taken]
        return next(iter(free or self._program.chips), None)


def _dies_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _how(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
