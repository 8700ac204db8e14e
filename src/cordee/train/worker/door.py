"""Where a worker comes in: its line to the coordinator, and where others reach it."""

from collections.abc import Callable
from functools import partial

from cordee.train.wire import Hello
from cordee.train.worker.control import Line
from cordee.train.worker.failures import report_crashes
from cordee.train.worker.feed import Mouth
from cordee.train.worker.holding import serve
from cordee.train.worker.job import Job, hello_of
from cordee.train.worker.store import Store


class Door:
    """Open as long as the process runs."""

    def __init__(self, job: Job, hello: Callable[[Job, tuple[int, int]], Hello]) -> None:
        """`hello`: what the worker says, with the ports of its store and of what it is fed."""
        self.mouth = Mouth(job.host, job.secret, partial(serve, job.keep.memory))
        self.store = Store(job.host)
        said = hello(job, (self.store.port, self.mouth.port))
        self.line = Line(job.coordinator, job.secret, said)
        report_crashes(self.line)


def as_part(device: str, replica: int) -> Callable[[Job, tuple[int, int]], Hello]:
    """The greeting of a worker that will have a part of the model, and has no model yet."""
    return lambda job, ports: hello_of(job, ports, device, (0, "exact"), "", replica)
