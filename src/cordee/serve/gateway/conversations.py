"""Answers of /v1/responses that a client may read again, or go on from: in memory, and in the journal's folder."""

import asyncio
import re
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from cordee.serve.api.errors import ApiError

KEPT_MOST = 10_000
KEPT_BYTES = 256 * 2**20
KEPT_S = 30 * 86_400.0
SWEEP_S = 3600.0
ID = re.compile(r"resp_[0-9a-f]{24}", re.ASCII)
Json = dict[str, Any]


class Answered(msgspec.Struct):
    """A response, and all that was said before it."""

    key: str
    """Whose it is."""
    input: list[Json]
    """The items that the model read, those of earlier turns first."""
    response: Json


class Conversations:
    """Of one gateway the latest, within a bound; with a folder also those of others, for as long as they are there."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = None if folder is None else folder / "responses"
        self._kept: OrderedDict[str, tuple[Answered, int]] = OrderedDict()
        self._bytes = 0

    def add(self, answered: Answered) -> None:
        """Keep an answer; the oldest make room."""
        encoded = msgspec.json.encode(answered)
        name = str(answered.response["id"])
        self._kept[name] = answered, len(encoded)
        self._bytes += len(encoded)
        while self._kept and (len(self._kept) > KEPT_MOST or self._bytes > KEPT_BYTES):
            _, (_, size) = self._kept.popitem(last=False)
            self._bytes -= size
        if self._folder is not None:
            file = self._folder / f"{name}.json"
            asyncio.get_running_loop().run_in_executor(None, _write, file, encoded)

    async def find(self, name: str, key: str) -> Answered:
        """An answer by its name. Raises `ApiError` 404 where there is none of this key."""
        found = self._kept.get(name)
        answered = found[0] if found else await asyncio.to_thread(self._read, name)
        if answered is None or answered.key != key:
            raise ApiError(404, f"there is no response {name[:64]} here", code="not_found")
        return answered

    async def remove(self, name: str, key: str) -> None:
        """Forget an answer. Raises `ApiError` 404 where there is none."""
        await self.find(name, key)
        _, size = self._kept.pop(name, (None, 0))
        self._bytes -= size
        if self._folder is not None:
            (self._folder / f"{name}.json").unlink(missing_ok=True)

    async def run(self) -> None:
        """Remove what is too old from the folder, until cancelled."""
        while self._folder is not None:
            await asyncio.to_thread(_sweep, self._folder)
            await asyncio.sleep(SWEEP_S)

    def _read(self, name: str) -> Answered | None:
        if self._folder is None or not ID.fullmatch(name):  # it is a name of a file
            return None
        try:
            encoded = (self._folder / f"{name}.json").read_bytes()
            return msgspec.json.decode(encoded, type=Answered)
        except (OSError, msgspec.DecodeError):
            return None


def _write(file: Path, encoded: bytes) -> None:
    with suppress(OSError):  # a disk that is full costs what is beyond memory, not an answer
        file.parent.mkdir(mode=0o700, exist_ok=True)
        beside = file.with_suffix(".part")
        beside.touch(mode=0o600)
        beside.write_bytes(encoded)
        beside.rename(file)


def _sweep(folder: Path) -> None:
    for file in folder.glob("resp_*"):
        with suppress(OSError):
            if ID.match(file.name) and time.time() - file.stat().st_mtime > KEPT_S:
                file.unlink()
