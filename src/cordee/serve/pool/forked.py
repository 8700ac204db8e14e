"""Engines that are forked from a zygote, each as a child of this process."""

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cordee.core.background import begun
from cordee.core.programs import adopting
from cordee.serve.pool.zygote import MESSAGE_BYTES, Birth


@dataclass(frozen=True, slots=True)
class Kind:
    """Engines that one zygote can be forked to."""

    device: str
    threads: int

    @property
    def environment(self) -> dict[str, str]:
        """What they want to be set before anything is imported."""
        made = {"PYTHONUNBUFFERED": "1"}
        if self.threads:
            made["OMP_NUM_THREADS"] = str(self.threads)
        if self.device == "cpu":
            made["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
        return made


@dataclass(slots=True)
class Forked:
    """A child of this process that another one made; it is awaited and read like one of asyncio."""

    pid: int
    stdout: asyncio.StreamReader
    returncode: int | None = None

    async def wait(self) -> int:
        """Wait for its end; gives its exit code, negative for a signal."""
        if self.returncode is None:
            await _readable(os.pidfd_open(self.pid))
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


@dataclass(slots=True)
class Zygote:
    """One process that forks engines, and what is expected of it."""

    process: asyncio.subprocess.Process
    channel: socket.socket
    waiting: "deque[asyncio.Future[int]]" = field(default_factory=deque)
    """Those that want to know an engine's process id, in the order in which they asked."""

    @property
    def alive(self) -> bool:
        return self.channel.fileno() >= 0

    async def born(self, birth: Birth, out: int, errors: int) -> int:
        """The process id of a new engine. Raises `ChildProcessError` where the zygote has ended."""
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append(pid)
        try:
            socket.send_fds(self.channel, [msgspec.json.encode(birth)], [out, errors])
        except OSError:
            self.close()
        return await pid

    def hear(self) -> None:
        """Its answers: an id, or nothing where it is gone."""
        told = b""
        with suppress(ConnectionError):
            told = self.channel.recv(MESSAGE_BYTES)
        if not told:
            self.close()
            return
        waits, pid = self.waiting.popleft(), int(told)
        if waits.done():  # whoever wanted it does so no more
            os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        else:
            waits.set_result(pid)

    def close(self) -> None:
        """End it; its engines go on."""
        if not self.alive:
            return
        asyncio.get_running_loop().remove_reader(self.channel.fileno())
        self.channel.close()
        for waits in self.waiting:
            if not waits.done():
                waits.set_exception(ChildProcessError("what forks engines has ended"))
        self.waiting.clear()
        with suppress(ProcessLookupError):
            self.process.kill()


@dataclass(slots=True)
class Zygotes:
    """Those of a service; each is started when an engine of its kind is wanted first, and again where it has ended."""

    running: dict[Kind, Zygote] = field(default_factory=dict)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def born(self, kind: Kind, birth: Birth, log: Path) -> Forked:
        """A new engine, whose errors go to `log`. Raises `ChildProcessError` where none can be forked."""
        async with self._one:
            zygote = self.running.get(kind)
            if zygote is None or not zygote.alive:
                zygote = self.running[kind] = await _begun(kind, log)
        adopting(True)
        reader, writer = os.pipe()
        with log.open("ab") as errors:
            try:
                pid = await zygote.born(birth, writer, errors.fileno())
            except BaseException:
                os.close(reader)
                raise
            finally:
                os.close(writer)
                adopting(any(zygote.waiting for zygote in self.running.values()))
        stdout = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(reader, "rb")
        )
        return Forked(pid, stdout)

    async def close(self) -> None:
        """End all of them."""
        for zygote in self.running.values():
            zygote.close()
            await zygote.process.wait()


async def _begun(kind: Kind, log: Path) -> Zygote:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    command = (sys.executable, "-m", "cordee.serve.pool.zygote", kind.device, str(theirs.fileno()))
    with theirs, log.open("ab") as errors:
        process = await begun(
            command,
            out=errors,
            errors=errors,
            environment=kind.environment,
            pass_fds=(theirs.fileno(),),
        )
    zygote = Zygote(process, ours)
    asyncio.get_running_loop().add_reader(ours.fileno(), zygote.hear)
    return zygote


async def _readable(file: int) -> None:
    """Wait until there is something to read; closes the file."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[None] = loop.create_future()
    loop.add_reader(file, found.cancel)
    try:
        await asyncio.wait((found,))
    finally:
        loop.remove_reader(file)
        os.close(file)
