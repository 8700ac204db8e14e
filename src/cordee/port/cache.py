"""What was said about files before, kept in the user's cache folder.

A file's findings depend on its path and bytes, on the setting, on the rules, and on what the rules
asked the project; all of it must be the same again.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from cordee.port.assessment import Judged
from cordee.port.record import packed, unpacked
from cordee.port.setting import Setting

DAY_S = 24 * 3600
KEPT_S = 30 * DAY_S
TABLE = "CREATE TABLE IF NOT EXISTS judged (key BLOB PRIMARY KEY, used INTEGER, data TEXT) WITHOUT ROWID"
AT_ONCE = 500  # rows asked for in one statement


def key(path: str, data: bytes, setting: Setting) -> bytes:
    """Of everything a file's findings depend on, but the project."""
    digest = hashlib.blake2b(rules_version(), digest_size=20)
    digest.update(f"\0{setting.style}\0{setting.torch}\0".encode())
    digest.update(os.fsencode(path) + b"\0")
    digest.update(data)
    return digest.digest()


def said_digest(said: Iterable[str]) -> str:
    """Of what a project said: it may be long."""
    digest = hashlib.blake2b(digest_size=12)
    for answer in said:
        digest.update(answer.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


@cache
def rules_version() -> bytes:
    """A digest of the code and the tables that judge files, and of the Python that parses them."""
    digest = hashlib.blake2b(sys.version.encode())
    here = Path(__file__).parent
    for path in sorted([*here.rglob("*.py"), *here.rglob("*.toml")]):
        digest.update(path.read_bytes())
    return digest.digest()


class Cache:
    """A table in a file. Where it cannot be read or written, nothing is kept, and nothing fails."""

    def __init__(self, file: Path | None) -> None:
        self._connection = _opened(file) if file is not None else None

    @classmethod
    def usual(cls) -> "Cache":
        """That of the user."""
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return cls(Path(home).expanduser() / "cordee" / "assessed.sqlite")

    def found(self, paths: dict[bytes, str]) -> Iterator[tuple[bytes, list[str], str, Judged]]:
        """What is kept under these keys: key, what the project was asked, what it said, the file."""
        keys = list(paths)
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            for found, data in self._rows(
                f"SELECT key, data FROM judged WHERE key IN ({marks})", some
            ):
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    asked, said, judged = json.loads(data)
                    yield found, asked, said, unpacked(paths[found], judged)

    def keep(self, rows: Iterable[tuple[bytes, list[str], str, Judged]]) -> None:
        """Keep rows such as `found` gives, and forget what was not asked for in a month."""
        if self._connection is None:
            return
        now_s = int(time.time())
        new = [
            (key, now_s, json.dumps([asked, said, packed(judged)], separators=(",", ":")))
            for key, asked, said, judged in rows
            if key
        ]
        with contextlib.suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO judged VALUES (?, ?, ?)", new)
            self._connection.execute("DELETE FROM judged WHERE used < ?", (now_s - KEPT_S,))

    def used(self, keys: list[bytes]) -> None:
        """Say that rows are still of use; at most once a day each."""
        if self._connection is None:
            return
        now_s = int(time.time())
        statement = "UPDATE judged SET used = ? WHERE key = ? AND used < ?"
        with contextlib.suppress(sqlite3.Error), self._connection:
            rows = [(now_s, key, now_s - DAY_S) for key in keys]
            self._connection.executemany(statement, rows)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()

    def _rows(self, statement: str, values: list[bytes]) -> list[tuple[bytes, str]]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error:
            return []


def _opened(file: Path) -> sqlite3.Connection | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _connected(file)
    except OSError:
        return None
    except sqlite3.DatabaseError:  # not a database, or a broken one: a new one costs only time
        with contextlib.suppress(OSError, sqlite3.Error):
            file.unlink()
            return _connected(file)
    return None


def _connected(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(TABLE)
        connection.execute("SELECT key FROM judged LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
