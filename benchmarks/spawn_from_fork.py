"""Has processes that a program spawns forked from one that has imported what they all import.

They begin as spawned ones do, with the environment and path of their parent, without seconds of
imports each. Imported by who spawns, which calls `install`, and by the process that forks.
"""

import atexit
import multiprocessing.context as contexts
import os
import time
from multiprocessing import resource_sharer
from multiprocessing.process import BaseProcess
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
    while sent and time.monotonic() < end:
        time.sleep(0.01)


BaseProcess._bootstrap = _begin_with_environment


def install() -> None:
    """From now on `spawn` means this, in this process."""

    def start(process: Any) -> Any:
        process._environment_of_parent = dict(os.environ)
        return contexts.ForkServerProcess._Popen(process)

    contexts.SpawnProcess._Popen = staticmethod(start)
    contexts._concrete_contexts["forkserver"].set_forkserver_preload(IMPORTS)
