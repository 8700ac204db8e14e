"""Streams in flight as files of a folder that several gateways share, so that another one can go on with them.

A file has the request as a line of JSON, then the ids of its tokens as they come. Files are written by a thread, a
few times a second, and never synced: an id that is missing is made again by the engine that goes on, and is the same.
"""

import asyncio
import contextlib
import logging
import os
import re
import threading
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from struct import Struct

import msgspec

from cordee.core.errors import UsageError
from cordee.serve.gateway.intake import Kept
from cordee.serve.gateway.record import ID, Record

EVERY_S = 0.2
SWEEP_S = 60.0
WAITING_MOST = 1000
"""Where the disk is so far behind, ids wait in memory, and new streams are not kept."""
FRAME = Struct("<III")
"""Which choice, how many tokens come before, how many follow as numbers of 32 bits."""
FILE = re.compile(rf"({ID.pattern})\.stream(\.[0-9]+)?", re.ASCII)
Step = tuple[str, str, bytes]
"""What the thread is to do: `new`, `more` or `end`; with which stream; and with which bytes."""
log = logging.getLogger(__name__)


class _Head(msgspec.Struct):
    path: str
    body: dict[str, object]
    key: str
    priority: int
    pool: str
    bases: list[int]


class Journal:
    """The streams of one gateway, and a look at those of others."""

    def __init__(self, folder: Path, keep_s: float) -> None:
        """`keep_s`: so long a stream stays that nobody ended. Raises `UsageError`."""
        self._disk = _Disk(folder, keep_s)
        self._written: dict[Record, list[int]] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = folder / f".{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(f"[gateway] journal: {folder}: {error.strerror}") from error

    def begin(self, record: Record) -> None:
        """A stream begins, or goes on here."""
        if self._disk.behind:
            return
        head = _Head(
            path=record.path,
            body=record.body,
            key=record.key,
            priority=record.priority,
            pool=record.pool,
            bases=[line.base for line in record.lines],
        )
        self._written[record] = [0] * len(record.lines)
        self._disk.do("new", record.id, msgspec.json.encode(head) + b"\n" + self._news(record))

    def over(self, record: Record) -> None:
        """A stream is whole, or its client went away, who may come back."""
        if record not in self._written:
            return
        if record.outcome == "gone":
            self._disk.do("more", record.id, self._news(record))
        else:
            self._disk.do("end", record.id, b"")
        del self._written[record]

    async def run(self) -> None:
        """Write what is new until cancelled."""
        self._disk.start()
        while True:
            await asyncio.sleep(EVERY_S)
            if not self._disk.behind:
                for record in self._written:
                    news = self._news(record)
                    if news:
                        self._disk.do("more", record.id, news)

    async def close(self) -> None:
        """Wait until all is written."""
        await asyncio.to_thread(self._disk.stop)

    async def read(self, request_id: str) -> Kept | None:
        """A stream that some gateway has, or had when it was killed."""
        if not ID.fullmatch(request_id):  # it is a name of a file
            return None
        return await asyncio.to_thread(self._disk.read, request_id)

    def _news(self, record: Record) -> bytes:
        """The ids of a stream that are not written yet."""
        written, made = self._written[record], b""
        for line in record.lines:
            start, end = written[line.index], len(line.ids)
            if end > start:
                made += FRAME.pack(line.index, line.base + start, end - start)
                made += line.ids[start:end].tobytes()
                written[line.index] = end
        return made


@dataclass(slots=True)
class _Disk:
    """The folder, and the thread that writes into it."""

    folder: Path
    keep_s: float
    lost: int = 0
    _steps: "SimpleQueue[Step | None]" = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None
    _own: dict[str, int] = field(default_factory=dict)
    """The inodes of files that were made here: another gateway may have taken a stream over."""

    @property
    def behind(self) -> bool:
        return self._steps.qsize() > WAITING_MOST

    def do(self, what: str, name: str, data: bytes) -> None:
        self._steps.put((what, name, data))

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._steps.put(None)
        if self._thread is not None:
            self._thread.join(timeout=5)

    def read(self, name: str) -> Kept | None:
        try:
            head, _, rest = self._file(name).read_bytes().partition(b"\n")
            told = msgspec.json.decode(head, type=_Head)
        except (OSError, msgspec.DecodeError):
            return None
        ids = [(base, array("i")) for base in told.bases]
        at = 0
        while at + FRAME.size <= len(rest):
            index, start, count = FRAME.unpack_from(rest, at)
            at += FRAME.size
            piece = rest[at : at + 4 * count]
            at += 4 * count
            found = array("i", piece[: len(piece) // 4 * 4])  # the end of the last may be missing
            if index < len(ids):
                base, known = ids[index]
                _join(base, known, start, found)
        return Kept(name, told.path, told.body, told.key, told.priority, told.pool, ids)

    def _work(self) -> None:
        swept_s = 0.0
        while True:
            if time.monotonic() - swept_s > SWEEP_S:
                swept_s = time.monotonic()
                self._sweep()
            try:
                step = self._steps.get(timeout=SWEEP_S)
            except Empty:
                continue
            if step is None:
                return
            try:
                self._do(*step)
            except OSError as error:
                if not self.lost:
                    log.error("%s: %s: streams cannot be taken over", self.folder, error.strerror)  # noqa: TRY400
                self.lost += 1

    def _do(self, what: str, name: str, data: bytes) -> None:
        file = self._file(name)
        if what == "more":
            with contextlib.suppress(FileNotFoundError):
                target = os.open(file, os.O_WRONLY | os.O_APPEND)
                with open(target, "wb", buffering=0) as opened:
                    opened.write(data)
        elif what == "new":
            beside = file.with_name(f"{file.name}.{os.getpid()}")
            with open(
                os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as opened:
                opened.write(data)
                self._own[name] = os.fstat(opened.fileno()).st_ino
            beside.rename(file)
        else:
            with contextlib.suppress(FileNotFoundError):
                if self._own.pop(name, None) == file.stat().st_ino:
                    file.unlink()

    def _sweep(self) -> None:
        """Remove what nobody came back for."""
        with contextlib.suppress(OSError):
            for file in self.folder.iterdir():
                if FILE.fullmatch(file.name):
                    with contextlib.suppress(OSError):
                        if time.time() - file.stat().st_mtime > self.keep_s:
                            file.unlink()
        self._own = {name: own for name, own in self._own.items() if self._file(name).exists()}

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.stream"


def _join(base: int, known: "array[int]", start: int, found: "array[int]") -> None:
    """Add ids that follow those that are known, or overlap them; none where some between are missing."""
    end = base + len(known)
    if start <= end:
        known.extend(found[end - start :])
