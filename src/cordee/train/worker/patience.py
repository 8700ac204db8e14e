"""Waiting for a collective of gloo in another thread, so that one that is never woken can be left behind.

A receive that is posted at the moment its connection breaks is not told so (gloo's Pair enters it in a list after the
error was passed to all in that list), and would wait for the group's whole timeout.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch._C._distributed_c10d import Work

GRACE_S = 0.3
"""What was freed has ended after so long, or never will."""
LOOK_S = 0.05


@dataclass(slots=True)
class _Task:
    works: Sequence[Work]
    over: threading.Event = field(default_factory=threading.Event)
    error: RuntimeError | None = None


class Patience:
    """Waits for one thing after another."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[_Task] | None = None

    def wait(self, works: Sequence[Work], freed: Callable[[], bool]) -> bool:
        """Until all have ended; False where they were freed and have not. Raises `RuntimeError` where one failed."""
        task = _Task(works)
        if self._tasks is None:
            self._tasks = queue.SimpleQueue()
            threading.Thread(
                target=_run, args=(self._tasks,), name="train_wait", daemon=True
            ).start()
        self._tasks.put(task)
        end_s = 0.0
        while not task.over.wait(LOOK_S):
            if not end_s and freed():
                end_s = time.monotonic() + GRACE_S
            if end_s and time.monotonic() > end_s:
                self._tasks = None  # its thread is left behind
                return False
        if task.error is not None:
            raise task.error
        return True


def _run(tasks: "queue.SimpleQueue[_Task]") -> None:
    while True:
        task = tasks.get()
        for work in task.works:
            try:
                work.wait()
            except RuntimeError as error:
                task.error = task.error or error
        task.works = ()  # nor what they belong to is kept by waiting for the next
        task.over.set()
        del task
