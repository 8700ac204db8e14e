"""Waits for something to be so, as long as a slow machine may need and no longer."""

import time
from collections.abc import Callable

PATIENCE_S = 120.0


def until(is_so: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Look until it is."""
    end_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end_s, f"not within {within_s:g} s"
        time.sleep(0.02)
