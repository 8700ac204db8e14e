"""A process group that stays while those behind it change: what the program's own collectives go through.

A model keeps the group it was made with (FSDP2, tensor and pipeline parallelism). So it gets one that is no group
itself: in each epoch another one is put behind it. Where that breaks, nothing is raised in the middle of a forward or
backward pass, whose code could not be entered again: all collectives end at once, with zeros, until the worker comes
to the end of its shard, which is then left out.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._C._distributed_c10d import Work
from torch.distributed import ProcessGroup

from cordee.core.errors import UsageError
from cordee.train.worker.groups import Joined

OLDER = {
    "all_gather_single": "_allgather_base",
    "reduce_scatter_single": "_reduce_scatter_base",
    "all_to_all_single": "alltoall_base",
}
"""What backends call what groups call by a newer name (torch 2.13, distributed_c10d.py)."""
COALESCED = {
    "all_gather_single_coalesced": "all_gather_single",
    "reduce_scatter_single_coalesced": "reduce_scatter_single",
}
SAME = (
    *("allgather", "allreduce", "allreduce_coalesced", "alltoall", "barrier", "broadcast"),
    *("gather", "recv", "reduce", "reduce_scatter", "scatter", "send"),
)
NO_RESULT = ("send", "barrier")


@dataclass(slots=True)
class Together:
    """What all groups of a replica have in common."""

    broken: str = ""
    """Why nothing is exchanged any more in this epoch."""
    waits_s: float = 0.0
    """Since when the program waits for others of its replica; 0: it does not."""

    def breaks(self, error: RuntimeError) -> None:
        self.broken = self.broken or str(error)[:200] or "a collective failed"

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.waits_s = time.monotonic()
        try:
            yield
        finally:
            self.waits_s = 0.0


class Stable(ProcessGroup):
    """The group, for one worker of it."""

    def __init__(self, rank: int, ranks: Sequence[int], together: Together) -> None:
        """`ranks`: the places of its members."""
        super().__init__(rank, len(ranks))  # type: ignore[call-arg]
        self.place, self.ranks, self.together = rank, tuple(ranks), together
        self.behind: Joined | None = None
        self._name = self._about = ""

    def getRank(self) -> int:
        return self.place

    def getSize(self) -> int:
        return len(self.ranks)

    def getBackendName(self) -> str:
        return "cordee"

    def getGroupName(self) -> str:
        return self._name

    def setGroupName(self, name: str) -> None:
        self._name = name

    def getGroupDesc(self) -> str:
        return self._about

    def setGroupDesc(self, text: str) -> None:
        self._about = text

    def called(self, name: str, *values: object) -> Work:
        """Begin a collective."""
        results = [] if name in NO_RESULT else list(_tensors(values[0]))
        if self.together.broken:
            return Over(results)
        if len(self.ranks) == 1:
            return Over(results, given=list(_tensors(values[1:2])))
        if self.behind is None:
            raise UsageError(
                f"{name} outside of a step: a replica can exchange something within its shards only. While a model "
                "is made each worker makes its own part of it: parallelize_module has src_data_rank=None for that"
            )
        if name in COALESCED:  # gloo's is not there for Python
            return self._each(COALESCED[name], results, list(_tensors(values[1])))
        try:
            work = getattr(self.behind.group, OLDER.get(name, name))(*values)
        except RuntimeError as error:
            self.together.breaks(error)
            return Over(results)
        return Waited(work, results, self.together, self.behind)

    def _each(self, name: str, results: list[Tensor], given: list[Tensor]) -> Work:
        for result, one in zip(results, given, strict=True):
            self.called(name, result, one).wait()
        return Over(results, given=results)


class Waited(Work):
    """A collective that is under way."""

    def __init__(
        self, work: Work, results: list[Tensor], together: Together, behind: Joined
    ) -> None:
        super().__init__()
        self._work, self._results, self._together, self._behind = work, results, together, behind

    def wait(self, timeout: object = None) -> bool:
        try:
            with self._together.waiting():
                self._behind.wait([self._work])
        except RuntimeError as error:
            self._together.breaks(error)
            _fill(self._results)
        return True

    def get_future(self) -> torch.futures.Future[list[Tensor]]:
        self.wait()
        return _future(self._results)


class Over(Work):
    """One that was none: nobody is there, or nobody else."""

    def __init__(self, results: list[Tensor], given: list[Tensor] | None = None) -> None:
        super().__init__()
        self._results = results
        if given is None:
            _fill(results)
            return
        for result, one in zip(results, given, strict=False):
            if result is not one:
                result.detach().view(-1).copy_(one.detach().reshape(-1))

    def wait(self, timeout: object = None) -> bool:
        return True

    def get_future(self) -> torch.futures.Future[list[Tensor]]:
        return _future(self._results)


def _fill(tensors: Sequence[Tensor]) -> None:
    """With zeros, and whole numbers with ones: by these a pipeline is told that shapes are known, and asks no more."""
    with torch.no_grad():
        for tensor in tensors:
            tensor.detach().fill_(0 if tensor.is_floating_point() or tensor.is_complex() else 1)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _future(results: list[Tensor]) -> torch.futures.Future[list[Tensor]]:
    made: torch.futures.Future[list[Tensor]] = torch.futures.Future()
    made.set_result(results)
    return made


def _named(name: str) -> Callable[..., Work]:
    def collective(self: Stable, *values: object) -> Work:
        return self.called(name, *values)

    return collective


for _name in (*OLDER, *COALESCED, *SAME):
    setattr(Stable, _name, _named(_name))
