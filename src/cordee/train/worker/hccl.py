"""Groups on Ascend: HCCL's, freed by stopping the chip's tasks.

`Backend.abort` does nothing for HCCL (torch_npu 2.13, ProcessGroupHCCL.hpp: its `abort` has another signature). What
is stuck is freed by `stop_device` (aclrtDeviceTaskAbort), which ends all tasks of the chip; so only a worker that is
in a collective is stopped. `restart_device` makes the chip usable again, and what lies in its memory stays.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
import torch_npu
from torch._C._distributed_c10d import PrefixStore, ProcessGroup, Work

from cordee.train.worker.groups import Alone, Group, Joined
from cordee.train.worker.store import reached

LOOK_S = 0.05


class Hccl:
    """Groups for one chip of this process."""

    def __init__(self, device: torch.device, name: str = "") -> None:
        self._name = name
        self._index: int = device.index or 0
        self._lock = threading.Lock()
        self._inside = self._stopped = False
        self._epoch = self._freed = 0
        self._group: _Guarded | None = None

    def form(self, epoch: int, rank: int, stores: Sequence[str]) -> Group:
        self._epoch = epoch
        self._wake()
        if len(stores) == 1:
            return Alone()
        store = reached(stores[0], lambda: epoch < self._freed)
        options = torch_npu._C._distributed_c10d.ProcessGroupHCCL.Options()
        options.group_id = f"{epoch}{self._name}"  # the names of a process's groups differ
        made = torch_npu._C._distributed_c10d.ProcessGroupHCCL(
            PrefixStore(f"epoch{epoch}{self._name}", store), rank, len(stores), options
        )
        group = self._group = _Guarded(self, made)
        group.all_reduce(torch.zeros(1, device=f"npu:{self._index}"))  # links are made at first use
        return group

    def over(self, way: int) -> None:
        """Chips have links of their own."""

    def free(self, epoch: int) -> None:
        with self._lock:
            self._freed = max(self._freed, epoch)
            if self._inside and self._epoch < epoch:
                self._stop()

    def drop(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            self._wake()
            group.end()

    def moved_bytes(self) -> int:
        return -1  # chips exchange it among themselves

    def answers(self, most_s: float) -> bool:
        """A chip with a collective that is stuck still does what is on another stream; one that hangs does not."""
        end_s, device = time.monotonic() + most_s, f"npu:{self._index}"
        try:
            torch_npu.npu.set_device(self._index)
            with torch_npu.npu.stream(torch_npu.npu.Stream(device)):
                torch.ones(1, device=device).add_(1)
                done = torch_npu.npu.Event()
                done.record()
            while not done.query():
                if time.monotonic() > end_s:
                    return False
                time.sleep(LOOK_S)
        except RuntimeError:
            return False
        return True

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The chip is in a collective. Raises `RuntimeError` where that was stopped."""
        with self._lock:
            if self._epoch < self._freed:
                raise RuntimeError(f"epoch {self._epoch} is over")
            self._inside = True
        try:
            yield
            torch_npu.npu.synchronize(self._index)
        finally:
            with self._lock:
                self._inside = False

    def settle(self) -> None:
        """Let the chip go on without what is stuck."""
        with self._lock:
            if not self._stopped:
                self._stop()
            self._wake()

    def _stop(self) -> None:
        self._stopped = True
        torch_npu.npu.stop_device(self._index)

    def _wake(self) -> None:
        if self._stopped:
            self._stopped = False
            torch_npu.npu.restart_device(self._index)


class _Guarded(Joined):
    """A group whose collectives have ended when the call has."""

    def __init__(self, groups: Hccl, group: object) -> None:
        super().__init__(cast(ProcessGroup, group))
        self._groups, self._backend = groups, group

    def wait(self, works: Sequence[Work]) -> None:
        try:
            with self._groups.inside():
                super().wait(works)
        except RuntimeError:
            self._groups.settle()
            raise

    def end(self) -> None:
        """Give its links back."""
        self._backend.abort_hccl_comm("members have changed")  # type: ignore[attr-defined]
