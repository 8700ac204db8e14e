"""Groups on Ascend: HCCL's, freed by stopping the chip's tasks.

`Backend.abort` does nothing for HCCL (torch_npu 2.13, ProcessGroupHCCL.hpp: its `abort` has another signature). What
is stuck is freed by `stop_device` (aclrtDeviceTaskAbort), which ends all tasks of the chip; so only a worker that is
in a collective is stopped. `restart_device` makes the chip usable again, and what lies in its memory stays.
"""

import atexit
from collections.abc import Callable
from typing import Any, cast

import torch
import torch_npu
from torch._C._distributed_c10d import Backend, Store

from cordee.train.worker.on_device import Guarded, OnDevice


class Hccl(OnDevice):
    """Groups for one chip of this process."""

    _stopped = False

    def __init__(self, device: torch.device, name: str = "") -> None:
        super().__init__(device, name)
        atexit.register(self._close)

    def _made(self, store: Store, rank: int, size: int, name: str) -> Backend:
        kind = torch_npu._C._distributed_c10d.ProcessGroupHCCL
        options = kind.Options()
        options.group_id = name
        return cast(Backend, kind(store, rank, size, options))

    def _connected(self, connect: Callable[[], Guarded], freed: Callable[[], bool]) -> Guarded:
        return connect()  # stopping the chip ends it

    def _finish(self) -> None:
        torch_npu.npu.synchronize(self._device)

    def _stop(self, group: Guarded) -> None:
        if not self._stopped:
            self._stopped = True
            torch_npu.npu.stop_device(self._device.index)

    def _wake(self) -> None:
        if self._stopped:
            self._stopped = False
            torch_npu.npu.restart_device(self._device.index)

    def _close(self) -> None:
        """The process ends. torch_npu ends the groups of torch.distributed before the device, and knows of no others.

        The watchdog of one that is left would ask a device that is gone (torch_npu 2.13, _npu_shutdown).
        """
        group = self._group
        self.drop()
        if group is not None:
            group.let_go()

    def _end(self, group: Guarded) -> None:
        backend: Any = group.backend
        backend.abort_hccl_comm("members have changed")
