"""Has processes that a program spawns forked from one that has imported what they all import.

They begin as spawned ones do, with the environment and path of their parent, without seconds of
imports each. Imported by who spawns, which calls `install`, and by the process that forks.
"""

import atexit
import ctypes
import multiprocessing.context as contexts
import os
import time
from contextlib import suppress
from multiprocessing import resource_sharer
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

IMPORTS = [
    "torch",
    "torch_npu",
    "torch.testing._internal.common_distributed",
    __name__,
]

# A process that has put a tensor into a queue hands it over until it ends. On a chip, ending takes
# seconds: the adapter's exit function takes communicators and the device down.
END_S = 5.0
ENDING = "ending"  # the name of such a process meanwhile
PR_SET_NAME = 15  # linux/prctl.h

_begin = BaseProcess._bootstrap


def _begin_with_environment(self: Any, *arguments: Any, **keywords: Any) -> Any:
    environment = self.__dict__.pop("_environment_of_parent", None)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    code = _begin(self, *arguments, **keywords)
    if environment is not None:
        _wait_for_receivers()
        atexit._run_exitfuncs()  # a process that was forked leaves them out
    return code


def _wait_for_receivers() -> None:
    sent: dict[int, Any] = resource_sharer._resource_sharer._cache  # type: ignore[attr-defined]
    end = time.monotonic() + END_S
    if sent:
        ctypes.CDLL(None).prctl(PR_SET_NAME, ENDING.encode())
    while sent and time.monotonic() < end:
        time.sleep(0.01)


def _wait_for_end(pid: int) -> None:
    """Of one that only waits for receivers: the next would find its ports taken, where a spawned
    one comes seconds later."""
    comm = Path(f"/proc/{pid}/comm")
    with suppress(OSError):
        while comm.read_text().strip() == ENDING:
            time.sleep(0.01)


BaseProcess._bootstrap = _begin_with_environment


def install() -> None:
    """From now on `spawn` means this, in this process."""

    started: list[int] = []

    def start(process: Any) -> Any:
        for pid in started:
            _wait_for_end(pid)
        process._environment_of_parent = dict(os.environ)
        popen = contexts.ForkServerProcess._Popen(process)
        started.append(popen.pid)
        return popen

    contexts.SpawnProcess._Popen = staticmethod(start)
    contexts._concrete_contexts["forkserver"].set_forkserver_preload(IMPORTS)
