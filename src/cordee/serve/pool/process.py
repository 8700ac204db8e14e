"""One replica as a process of this machine: started, watched, ended with all that it started."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

from cordee.core.background import begun
from cordee.core.errors import CordeeError
from cordee.core.http.client import Client, Unreachable
from cordee.core.programs import ended_how, signal_group
from cordee.serve.pool.forked import Forked, Zygotes
from cordee.serve.pool.launch import Launch
from cordee.serve.pool.logs import last_words, told_error

ASK_S = 0.2
"""How often one that starts is asked whether it is ready."""


class StartError(CordeeError):
    """A replica ended before it was ready. `crashed`: without an error of its own that says why."""

    def __init__(self, message: str, *, crashed: bool = True) -> None:
        super().__init__(message)
        self.crashed = crashed


@dataclass(slots=True)
class Process:
    """A replica that runs."""

    inner: "asyncio.subprocess.Process | Forked"
    port: int

    @property
    def pid(self) -> int:
        return self.inner.pid

    def signal(self, number: signal.Signals) -> None:
        """Tell the process and those that it started."""
        signal_group(self.inner.pid, number)

    def ask_to_end(self) -> None:
        """Tell the process alone, which ends those that it started in its own way."""
        with suppress(ProcessLookupError):
            os.kill(self.inner.pid, signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for its end; gives its exit code, negative for a signal. What it left behind is ended."""
        code = await self.inner.wait()
        self.signal(signal.SIGKILL)
        return code


async def start(launch: Launch, zygotes: Zygotes | None = None) -> Process:
    """Start a replica, forked from one of `zygotes` where that can be, and wait until it is ready.

    Raises `StartError` with its last words.
    """
    begins_at = launch.log.stat().st_size if launch.log.exists() else 0
    inner = await begin(launch, zygotes)
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
        raise _why(launch, error, begins_at) from error
    return process


async def begin(launch: Launch, zygotes: Zygotes | None) -> "asyncio.subprocess.Process | Forked":
    """Its process, forked from one of `zygotes` where that can be, ready or not."""
    if launch.forked_as is not None and zygotes is not None:
        with suppress(ChildProcessError):
            return await zygotes.born(*launch.forked_as, launch.log)
    with launch.log.open("ab") as log:
        return await begun(
            launch.command,
            out=asyncio.subprocess.PIPE if launch.port is None else log,
            errors=log,
            environment=launch.environment,
        )


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return "ended as it was asked to" if code == 0 else ended_how(code)


async def _says_where(inner: "asyncio.subprocess.Process | Forked") -> int:
    assert inner.stdout is not None
    while line := await inner.stdout.readline():
        with suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["ready"]["port"])
    raise StartError("ended before it was ready")


async def _answers(inner: "asyncio.subprocess.Process | Forked", port: int) -> None:
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


def _why(launch: Launch, error: BaseException, begins_at: int) -> StartError:
    """Why it did not start, from its log."""
    late = isinstance(error, TimeoutError)
    told = told_error(launch.log, begins_at)
    if told is not None and launch.tells_why and not late:
        return StartError(told, crashed=False)
    what = f"was not ready in {launch.ready_s:g} s" if late else str(error)
    return StartError(what + last_words(launch.log, begins_at))
