"""What happens, as lines of JSON and to those who watch: every event has a time, a kind, and what belongs to it."""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.folders import made

Event = dict[str, object]
CLOSED, STANDARD_OUTPUT = -1, 1
words = logging.getLogger(__name__)
_line = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def event(kind: str, **values: object) -> Event:
    """Something that happens now."""
    return {"time_s": round(time.time(), 4), "kind": kind, **values}


class Events:
    """Tells those who watch, and writes down where there is a file for it."""

    def __init__(self, file: Path | None = None) -> None:
        """Raises `UsageError` where the file cannot be written."""
        self._watchers: list[Callable[[Event], None]] = []
        self._file: EventFile | None = None
        if file is not None:
            made(file.parent)
            self._file = EventFile(file)

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call with each event from now on."""
        self._watchers.append(watcher)

    def add(self, kind: str, **values: object) -> None:
        """Something happened."""
        self.put(event(kind, **values))

    def put(self, happened: Event) -> None:
        """Something happened elsewhere, or at another time."""
        if self._file is not None:
            self._file.write(happened)
        for watcher in list(self._watchers):
            watcher(happened)

    def close(self) -> None:
        """Nothing more is written."""
        if self._file is not None:
            self._file.close()
            self._file = None


class EventFile:
    """Appends to a file, anew where that was moved away; a disk that takes no more costs lines, not what is told in them."""

    def __init__(self, path: Path | None) -> None:
        """None: standard output. Raises `UsageError` where it cannot be written."""
        self.lost = 0
        self._path = path
        self._file, self._inode = (STANDARD_OUTPUT if path is None else CLOSED), 0
        if path is not None:
            try:
                self._open(path)
            except OSError as error:
                raise UsageError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, happened: Event) -> None:
        """One line."""
        try:
            if self._path is not None and not self._same(self._path):
                self._open(self._path)
            os.write(self._file, line(happened))
        except OSError as error:
            if not self.lost:
                what = self._path or "standard output"
                words.error("%s: %s: lines are lost", what, error.strerror)
            self.lost += 1

    def close(self) -> None:
        """Nothing more is written."""
        if self._file not in (CLOSED, STANDARD_OUTPUT):
            os.close(self._file)
            self._file = CLOSED

    def _open(self, path: Path) -> None:
        self.close()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._inode = os.fstat(self._file).st_ino

    def _same(self, path: Path) -> bool:
        try:
            return path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False


def line(happened: Event) -> bytes:
    """An event as JSON, in which a number that is none is null."""
    try:
        text = _line(happened)
    except ValueError:
        text = _line(_finite(happened))
    return text.encode("utf-8", "replace") + b"\n"


def read(file: Path) -> Iterator[Event]:
    """The events of a file; the last one may be half written. Raises `UsageError` where a line is none, `OSError` where there is no file."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for place, text in enumerate(lines, start=1):
            try:
                found = json.loads(text)
            except ValueError as error:
                if not text.endswith("\n"):
                    return
                raise UsageError(f"{file}: line {place} is no event") from error
            if not isinstance(found, dict) or not {"kind", "time_s"} <= found.keys():
                raise UsageError(f"{file}: line {place} is no event")
            yield found


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
