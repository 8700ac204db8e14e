"""Waits for something to be so, as long as a slow machine may need and no longer."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0


def until(
    is_so: Callable[[], object],
    within_s: float = PATIENCE_S,
    by: "subprocess.Popen[Any] | None" = None,
) -> None:
    """Look until it is. `by`: the program that makes it so, which is not to end before."""
    end_s = time.monotonic() + within_s
    while not is_so():
        assert by is None or by.poll() is None, by.communicate()
        assert time.monotonic() < end_s, f"not within {within_s:g} s"
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    """Whether a process runs no more, though its parent may not have heard of it."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
