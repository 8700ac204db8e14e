"""Writes the lines of one process: gathered, but never so long that a kill takes much along."""

import json
import os
import threading
import time
from pathlib import Path

GATHER_S = 0.01


class Writer:
    """One process's trace file. In a child made by fork it writes nothing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._lines: list[str] = []
        self._written_s = 0.0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def add(self, line: str) -> None:
        """Add a line, given without its end."""
        with self._lock:
            self._lines.append(line)
            now_s = time.monotonic()
            if now_s - self._written_s > GATHER_S:
                self._written_s = now_s
                self._flush()

    def add_entry(self, entry: dict[str, object]) -> None:
        """Add a line that is written too seldom to cost much."""
        self.add(json.dumps(entry))

    def flush(self) -> None:
        """Hand what is gathered to the operating system."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        data = "".join(f"{line}\n" for line in self._lines).encode()
        self._lines.clear()
        while data and self._file >= 0:
            data = data[os.write(self._file, data) :]

    def _forget(self) -> None:
        self._file = -1
        self._lines = []
        self._lock = threading.Lock()  # another thread of the parent may have held it
