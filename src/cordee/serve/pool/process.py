"""One replica as a process of this machine: started, watched, ended with all that it started."""

import asyncio
import ctypes
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import CordeeError

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)
_prctl = ctypes.CDLL(None).prctl


class StartError(CordeeError):
    """A replica ended before it was ready."""


@dataclass(slots=True)
class Process:
    """A replica that runs."""

    inner: asyncio.subprocess.Process
    port: int

    @property
    def pid(self) -> int:
        return self.inner.pid

    def signal(self, number: signal.Signals) -> None:
        """Tell the process and those that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.inner.pid, number)

    async def ended(self) -> int:
        """Wait for its end; gives its exit code, negative for a signal."""
        return await self.inner.wait()


async def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path, timeout_s: float
) -> Process:
    """Start a replica and wait until it listens. Raises `StartError` with its last words."""
    with log.open("ab") as errors:
        inner = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            preexec_fn=_end_with_parent,
        )
    process = Process(inner, 0)
    try:
        async with asyncio.timeout(timeout_s):
            process.port = await _ready(inner)
    except (TimeoutError, StartError, asyncio.CancelledError) as error:
        process.signal(signal.SIGKILL)
        await inner.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        raise StartError(_last_words(log) or f"was not ready in {timeout_s:.0f} s") from error
    return process


async def _ready(inner: asyncio.subprocess.Process) -> int:
    assert inner.stdout is not None
    while line := await inner.stdout.readline():
        with suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["ready"]["port"])
    raise StartError("ended before it was ready")


def _end_with_parent() -> None:
    """In the child: a group of its own, and an end with the gateway even where that is killed."""
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _last_words(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("Error: ").removeprefix("error: ") if lines else ""
    return ""
