"""A thread that writes states: training waits for the copy, not for what becomes of it."""

import queue
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cordee.train.worker.state import Entry, Header


class Lane:
    """Writes one state at a time."""

    def __init__(self, work: Callable[[Header, Sequence[Tensor]], None]) -> None:
        self._work = work
        self._queue: queue.Queue[Header] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._entries: tuple[Entry, ...] = ()
        self._copies: list[Tensor] = []

    @property
    def busy(self) -> bool:
        """Whether it still writes the one before."""
        return self._queue.unfinished_tasks > 0

    def write(self, header: Header, tensors: Sequence[Tensor]) -> None:
        """Copy a state now, and write it. Not while it is busy."""
        if header.entries != self._entries:
            self._entries = header.entries
            self._copies = [torch.empty(t.shape, dtype=t.dtype) for t in tensors]
        for copy, tensor in zip(self._copies, tensors, strict=True):
            copy.copy_(tensor)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="train_keep", daemon=True)
            self._thread.start()
        self._queue.put(header)

    def wait(self) -> None:
        """Until nothing is left to write."""
        self._queue.join()

    def _run(self) -> None:
        while True:
            header = self._queue.get()
            try:
                self._work(header, self._copies)
            finally:
                self._queue.task_done()
