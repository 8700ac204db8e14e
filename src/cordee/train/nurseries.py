"""The process that starts an agent's workers, as the agent sees it: one of its own, or one that an incubator forks."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from cordee.core.background import begun
from cordee.train.incubator import VARIABLE, Wanted


@dataclass(slots=True)
class Nursery:
    """One that runs."""

    hears: asyncio.StreamWriter
    tells: asyncio.StreamReader
    process: asyncio.subprocess.Process | None = None
    """None: it is no child of ours."""
    pid: int = 0

    @property
    def ended(self) -> bool:
        return self.tells.at_eof() if self.process is None else self.process.returncode is not None

    async def lines(self) -> AsyncIterator[bytes]:
        """What it tells until it ends."""
        with suppress(ConnectionError):
            while line := await self.tells.readline():
                yield line
        if self.process is not None:
            await self.process.wait()

    def kill(self) -> None:
        """End it by force."""
        with suppress(ProcessLookupError):
            if self.process is not None:
                self.process.kill()
            elif not self.ended:
                os.kill(self.pid, signal.SIGKILL)
        if self.process is None:
            self.hears.close()


async def opened(folder: Path, environment: Mapping[str, str], *, warm: bool) -> Nursery:
    """One for workers whose logs are in `folder`; `environment` is added to ours.

    `warm`: it may come from an incubator, if there is one and it has what the environment wants. Raises `OSError`.
    """
    with (folder / "nursery.log").open("ab") as log:
        place = os.environ.get(VARIABLE)
        if warm and place:
            with suppress(OSError, EOFError):
                return await _forked(place, folder, {**os.environ, **environment}, log)
        command = (sys.executable, "-m", "cordee.train.nursery", str(folder))
        process = await begun(
            command, out=asyncio.subprocess.PIPE, errors=log, hears=True, environment=environment
        )
    assert process.stdin is not None
    assert process.stdout is not None
    return Nursery(process.stdin, process.stdout, process)


async def _forked(
    incubator: str, folder: Path, environment: dict[str, str], errors: IO[bytes]
) -> Nursery:
    """Raises `OSError` where there is no incubator, and `EOFError` where it has not what is wanted."""
    wanted = Wanted(str(folder), os.getcwd(), environment)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(incubator)
        line = msgspec.json.encode(wanted) + b"\n"
        sent = socket.send_fds(connection, [line], [errors.fileno()])
        connection.sendall(line[sent:])
        tells, hears = await asyncio.open_unix_connection(sock=connection.dup())
    said = await tells.readline()
    if not said:
        hears.close()
        raise EOFError(incubator)
    return Nursery(hears, tells, pid=json.loads(said)["nursery"])
