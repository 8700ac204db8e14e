"""The coordinator of the host that leads: its process is started, and started again where it ends too early."""

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from cordee.core.background import begun
from cordee.train.agent import how
from cordee.train.chair import Extension, Opening
from cordee.train.policy.succession import Known
from cordee.train.policy.trust import Checks
from cordee.train.policy.workers import Limits
from cordee.train.tasks import Tasks

ENDS_MOST = 5
"""So often in a row, with no step made, a coordinator that ends is started again."""
FAREWELL_S = 6.0
BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What every coordinator of a job is given."""

    secret: str
    limits: Limits
    checks: Checks
    spares: int


class Seat:
    """Where the coordinator of a job sits while this host leads."""

    def __init__(
        self,
        charge: Charge,
        address: str,
        logs: Path,
        lost: Callable[[str], None],
        failed: Callable[[str], None],
    ) -> None:
        """`lost` is called when its process has ended too early, `failed` when it does again and again."""
        self._charge, self._lost, self._failed = charge, lost, failed
        self._log = logs / "coordinator.log"
        self._address = address
        self._listener: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._next: asyncio.subprocess.Process | None = None
        """Waits, with all that it needs imported, to take the place of the one before."""
        self._keeping: asyncio.Task[None] | None = None
        self._beside = Tasks()
        self.known = Known()
        """What the newest coordinator of the job has told."""
        self._until_s: float | None = None
        self.hosts: tuple[int, ...] = ()
        """Those that live."""

    @property
    def to(self) -> str:
        """HOST:PORT of the coordinator; none: there is none here."""
        if self._listener is None or not self.taken:
            return ""
        host, port = self._listener.getsockname()[:2]
        return f"{host}:{port}"

    @property
    def taken(self) -> bool:
        return self._keeping is not None

    async def prepare(self) -> None:
        """Have a process wait that can coordinate at once."""
        self._bound()
        if self._next is None:
            self._next = await self._made()

    def take(self, term: int, hosts: tuple[int, ...], until_s: float | None) -> None:
        """Lead. `hosts` are those that live."""
        self.hosts, self._until_s = hosts, until_s
        self._bound().listen(BACKLOG)
        self.known = replace(self.known, term=term)
        self._keeping = self._beside.start(self._keep())

    def extend(self, until_s: float, hosts: tuple[int, ...]) -> None:
        """It may lead until then; these hosts live."""
        self._until_s, self.hosts = until_s, hosts
        if self._process is not None and self._process.stdin is not None:
            with suppress(ConnectionError):
                self._process.stdin.write(msgspec.json.encode(Extension(until_s)) + b"\n")

    def kill(self) -> None:
        """Its process does nothing any more: another one takes its place."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def yields(self) -> None:
        """Lead no more, at once."""
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        for process in (self._process, self._next):
            if process is not None:
                with suppress(ProcessLookupError):
                    process.kill()
        self._next = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def end(self) -> None:
        """The job is over: the coordinator ends when all have heard of it."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._process is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), FAREWELL_S)
        processes = [process for process in (self._process, self._next) if process is not None]
        self.yields()
        for process in processes:
            await process.wait()

    async def _keep(self) -> None:
        ends, step = 0, -1
        while True:
            await self._start()
            assert self._process is not None
            code = await self._process.wait()
            if code == 0:  # the job is over
                return
            ends = ends + 1 if self.known.step <= step else 1
            step = self.known.step
            if ends > ENDS_MOST:
                self._failed(f"the coordinator ends again and again, with code {code}: {self._log}")
                return
            self._lost(how(code))
            self.known = replace(self.known, term=self.known.term + 1)

    async def _start(self) -> None:
        self._process, self._next = self._next or await self._made(), None
        charge = self._charge
        opening = Opening(
            self._bound().fileno(),
            charge.secret,
            charge.limits,
            charge.checks,
            charge.spares,
            self.known,
            self.hosts,
            self._until_s,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(opening) + b"\n")
        self._next = await self._made()

    def _bound(self) -> socket.socket:
        """A socket with the address of the coordinator, which listens while this host leads."""
        if self._listener is None:
            self._listener = socket.socket()
            self._listener.bind((self._address, 0))
        return self._listener

    async def _made(self) -> asyncio.subprocess.Process:
        listener = self._bound()
        with self._log.open("ab") as log:
            return await begun(
                (sys.executable, "-m", "cordee.train.chair"),
                out=log,
                errors=log,
                hears=True,
                pass_fds=(listener.fileno(),),
            )
