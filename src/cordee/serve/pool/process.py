"""One replica as a process of this machine: started, watched, ended with all that it started."""

import asyncio
import ctypes
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import CordeeError
from cordee.serve.http.client import Client, Unreachable
from cordee.serve.pool.launch import Launch

ASK_S = 0.2
"""How often one that starts is asked whether it is ready."""
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

    def ask_to_end(self) -> None:
        """Tell the process alone, which ends those that it started in its own way."""
        with suppress(ProcessLookupError):
            os.kill(self.inner.pid, signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for its end; gives its exit code, negative for a signal. What it left behind is ended."""
        code = await self.inner.wait()
        self.signal(signal.SIGKILL)
        return code


async def start(launch: Launch) -> Process:
    """Start a replica and wait until it is ready. Raises `StartError` with its last words."""
    with launch.log.open("ab") as log:
        inner = await asyncio.create_subprocess_exec(
            *launch.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if launch.port is None else log,
            stderr=log,
            env={**os.environ, **launch.environment},
            preexec_fn=_end_with_parent,
        )
    process = Process(inner, launch.port or 0)
    try:
        async with asyncio.timeout(launch.ready_s):
            if launch.port is None:
                process.port = await _says_where(inner)
            else:
                await _answers(inner, launch.port)
    except (TimeoutError, StartError, asyncio.CancelledError) as error:
        process.signal(signal.SIGKILL)
        await inner.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        raise StartError(_why(launch, error)) from error
    return process


async def _says_where(inner: asyncio.subprocess.Process) -> int:
    assert inner.stdout is not None
    while line := await inner.stdout.readline():
        with suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["ready"]["port"])
    raise StartError("ended before it was ready")


async def _answers(inner: asyncio.subprocess.Process, port: int) -> None:
    client = Client(connect_s=1.0)
    try:
        while inner.returncode is None:
            with suppress(Unreachable):
                reply = await client.request(f"http://127.0.0.1:{port}/health", timeout_s=5.0)
                if reply.status == 200:
                    return
            await asyncio.sleep(ASK_S)
    finally:
        await client.close()
    raise StartError("ended before it was ready")


def _end_with_parent() -> None:
    """In the child: a group of its own, and an end with the gateway even where that is killed."""
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _why(launch: Launch, error: BaseException) -> str:
    """Why it did not start, from its log."""
    words = _last_words(launch.log, launch.last_words)
    late = f"was not ready in {launch.ready_s:g} s" if isinstance(error, TimeoutError) else ""
    if launch.last_words == 1:
        return words or late or "ended before it was ready"
    said = f"; the end of {launch.log}:\n{words}" if words else ""
    return (late or "ended before it was ready") + said


def _last_words(log: Path, count: int) -> str:
    with suppress(OSError):
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        if count > 1:
            return "\n".join(f"    {line}" for line in lines[-count:])
        return lines[-1].removeprefix("Error: ").removeprefix("error: ") if lines else ""
    return ""
