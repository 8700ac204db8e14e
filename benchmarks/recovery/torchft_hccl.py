"""A process group of HCCL's for torchft, which has none for Ascend: made and timed as its own one for XCCL is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch_npu
from torch.distributed import PrefixStore, ProcessGroup
from torchft.process_group import ProcessGroupWrapper, _WorkAcceleratorTimeout, context_timeout


class ProcessGroupHccl(ProcessGroupWrapper):
    """Another group for each quorum. What is stuck is freed after the timeout, and raises an error where it is waited for."""

    def __init__(self, timeout: timedelta) -> None:
        super().__init__(timeout)
        self._chip = torch.npu.current_device()
        self._stopped: ProcessGroup | None = None
        self._error: Exception | None = None

    def _create_pg(self, store: PrefixStore, rank: int, world_size: int) -> ProcessGroup:
        self._error = None
        kind = torch_npu._C._distributed_c10d.ProcessGroupHCCL
        options = kind.Options()
        options.group_id = f"torchft-{self._uuid}"
        group = ProcessGroup(store, rank, world_size)
        group._set_default_backend(ProcessGroup.BackendType.CUSTOM)
        backend = kind(store, rank, world_size, options)
        group._register_backend(torch.device("npu"), ProcessGroup.BackendType.CUSTOM, backend)
        return group

    def _wrap_work(self, work: Any, opts: object) -> Any:
        return Waited(self, work, self._timeout)

    @contextmanager
    def _run_context(self) -> Iterator[None]:
        with context_timeout(self.abort, self._timeout):
            yield

    def abort(self, errored: bool = True) -> None:
        """HCCL's own frees nothing: that takes `stop_device`, which ends all tasks of the chip. From any thread."""
        group, self._pg = self._pg, None
        if group is not None and errored:
            self._error = RuntimeError("aborted")
            self._stopped = group
            torch_npu.npu.stop_device(self._chip)
        elif group is not None:
            end(group)

    def wake(self) -> None:
        """Make a chip that was stopped usable again."""
        group, self._stopped = self._stopped, None
        if group is not None:
            torch_npu.npu.restart_device(self._chip)
            end(group)

    def errored(self) -> Exception | None:
        self.wake()
        return self._error

    def getBackendName(self) -> str:
        return "torchft-hccl"


class Waited(_WorkAcceleratorTimeout):
    """A collective that has ended when it was waited for, so that its error comes up there and nowhere else."""

    def wait(self, timeout: timedelta | None = None) -> bool:
        try:
            return super().wait(timeout or self._timeout)
        except RuntimeError:
            self._pg.wake()
            raise


def end(group: ProcessGroup) -> None:
    group._get_backend(torch.device("npu")).abort_hccl_comm("members have changed")
