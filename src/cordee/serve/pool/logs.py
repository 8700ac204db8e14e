"""Where replicas write what they have to say, and how much of it a user is shown."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cordee.core.folders import made

FAILED = "failed"
"""A file of this name beside the logs: they are worth keeping."""
LINES = 12
"""So many are shown of one that did not start; the reason is seldom in the last where it is not told in order."""
NAMED_ERROR = re.compile(r"(?<!\S)[A-Z]\w*(?:Error|Exception): .+")
"""The end of a traceback. Engines of several processes end with those that only say that another one has failed."""


@contextmanager
def folder(chosen: Path | None, say: Callable[[str], None]) -> Iterator[Path]:
    """The folder of the logs: the user's own, or one that stays only where a replica failed."""
    if chosen is not None:
        yield made(chosen)
        return
    own = Path(tempfile.mkdtemp(prefix="cordee-serve-"))
    try:
        yield own
    finally:
        if (own / FAILED).exists():
            (own / FAILED).unlink()
            say(f"what the replicas wrote is in {own}")
        else:
            shutil.rmtree(own, ignore_errors=True)


def keep(log: Path) -> None:
    """The replica that wrote this failed."""
    with suppress(OSError):
        (log.parent / FAILED).touch()


def told_error(log: Path, begins_at: int) -> str | None:
    """The error in a replica's own words, where it told one. `begins_at`: how many bytes are of others."""
    last = "".join(_lines(log, begins_at)[-1:])
    for mark in ("error: ", "Error: "):
        if last.startswith(mark):
            return last.removeprefix(mark)
    return None


def last_words(log: Path, begins_at: int) -> str:
    """The last lines that a replica wrote, as the end of a message about it; before them the first error."""
    lines = _lines(log, begins_at)
    shown = lines[-LINES:]
    first = next((found[0] for line in lines if (found := NAMED_ERROR.search(line))), None)
    if first is not None and not any(first in line for line in shown):
        shown = [first, "...", *shown]
    return "".join([f"; {log}", *(f"\n    {line}" for line in shown)])


def _lines(log: Path, begins_at: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(begins_at)
            return file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return []
