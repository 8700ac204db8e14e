"""Groups on NVIDIA: NCCL's, freed by aborting their communicator.

An abort lets the kernel of a collective end, and nothing says that it was not done: whoever waited looks whether the
group was freed. It may take long itself where another group of the process is stuck, too, so it runs beside all else.
What it may not meet is a call that is still connecting: all connections are made while a group is formed, in a thread
that can be left behind (PyTorch holds a lock of the communicator meanwhile, NCCLUtils.cpp, getNcclComm).
How failures are reported is said by variables.toml.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import torch
from torch._C._distributed_c10d import Backend, ProcessGroupNCCL, Store

from cordee.core.errors import UsageError
from cordee.train.worker.aside import aside
from cordee.train.worker.on_device import Guarded, OnDevice
from cordee.train.worker.store import GROUP_S

OLDEST = (2, 26)
"""With older ones an abort may not end (github.com/meta-pytorch/torchft, torchft/process_group.py)."""


class Nccl(OnDevice):
    """Groups for one GPU of this process."""

    def __init__(self, device: torch.device, name: str = "") -> None:
        """Raises `UsageError` where NCCL is too old."""
        super().__init__(device, name)
        check(torch.cuda.nccl.version())

    def _made(self, store: Store, rank: int, size: int, name: str) -> Backend:
        torch.cuda.set_device(self._device)  # that of a thread is the first one at first
        return ProcessGroupNCCL(store, rank, size, options_of(name, size))

    def _connected(self, connect: Callable[[], Guarded], freed: Callable[[], bool]) -> Guarded:
        def all_connected() -> Guarded:
            group = connect()
            numbers = torch.zeros(group.size, device=self._device)
            group.all_to_all(numbers, torch.zeros_like(numbers), [1] * group.size, [1] * group.size)
            return group

        return aside(all_connected, freed)

    def _finish(self) -> None:
        # Not the whole device: what is stuck in another group is freed by whoever waits for it.
        torch.cuda.current_stream(self._device).synchronize()

    def _stop(self, group: Guarded) -> None:
        if not group.stopped:
            group.stopped = True
            threading.Thread(target=_abort, args=(group.backend,), daemon=True).start()

    def _wake(self) -> None:
        """It goes on by itself."""

    def _end(self, group: Guarded) -> None:
        self._stop(group)  # to end it in an orderly way others would be needed


def options_of(name: str, size: int) -> ProcessGroupNCCL.Options:
    """How a group is made: calls return while others are waited for, and nothing is given up by time alone."""
    options: Any = ProcessGroupNCCL.Options()  # its stub has other types in each version
    options.config.blocking = 0
    options._timeout = timedelta(seconds=GROUP_S)
    options.group_name = name
    options.global_ranks_in_group = list(range(size))
    return cast(ProcessGroupNCCL.Options, options)


def check(version: tuple[int, ...]) -> None:
    """Raises `UsageError` where a version of NCCL is too old."""
    if version < OLDEST:
        has, needs = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise UsageError(
            f"NCCL {has}: groups that are stuck are freed by NCCL {needs} or newer, as torch 2.7 has it for CUDA 12.8"
        )


def _abort(backend: Backend) -> None:
    with suppress(RuntimeError):  # it was stuck for good, or is gone
        backend.abort()
