"""Work with others that may never end, in another thread: where it was freed and does not end, it is left behind."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_S = 0.05
LEAVE_S = 0.5
"""What was freed has ended after so long, or is left behind."""


def aside(work: Callable[[], T], freed: Callable[[], bool]) -> T:
    """What `work` gives. Raises `RuntimeError` where it does, or was freed and has not ended."""
    ended: list[T | RuntimeError] = []

    def run() -> None:
        try:
            ended.append(work())
        except RuntimeError as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="train_join", daemon=True)
    thread.start()
    end_s = 0.0
    while thread.is_alive():
        thread.join(LOOK_S)
        if not end_s and freed():
            end_s = time.monotonic() + LEAVE_S
        if end_s and time.monotonic() > end_s and not ended:
            raise RuntimeError("a group that was formed was freed")
    (found,) = ended
    if isinstance(found, RuntimeError):
        raise found
    return found
