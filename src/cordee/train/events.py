"""The journal of a job: one JSON line for everything that happened, with when and to whom."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec

Event = dict[str, object]


class Events:
    """Writes the journal, and tells those who watch."""

    def __init__(self, file: Path | None = None) -> None:
        self._out: TextIO | None = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._out = file.open("a", encoding="utf-8")
        self._watchers: list[Callable[[Event], None]] = []

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call with each event from now on."""
        self._watchers.append(watcher)

    def add(self, kind: str, **values: object) -> None:
        """Something happened."""
        self.put({"time_s": round(time.time(), 4), "kind": kind, **values})

    def put(self, event: Event) -> None:
        """Something happened elsewhere."""
        if self._out is not None:
            self._out.write(msgspec.json.encode(event).decode() + "\n")
            self._out.flush()
        for watcher in self._watchers:
            watcher(event)

    def close(self) -> None:
        """Nothing more is written."""
        if self._out is not None:
            self._out.close()
            self._out = None
