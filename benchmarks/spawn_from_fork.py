"""Has processes that a program spawns forked from one that has imported what they all import.

They begin as spawned ones do, with the environment and path of their parent, without seconds of
imports each. Imported by who spawns, which calls `install`, and by the process that forks.
"""

import atexit
import multiprocessing.context as contexts
import os
from multiprocessing.process import BaseProcess
from typing import Any

IMPORTS = [
    "torch",
    "torch_npu",
    "torch.testing._internal.common_distributed",
    __name__,
]

_begin = BaseProcess._bootstrap


def _begin_with_environment(self: Any, *arguments: Any, **keywords: Any) -> Any:
    environment = self.__dict__.pop("_environment_of_parent", None)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    code = _begin(self, *arguments, **keywords)
    if environment is not None:
        atexit._run_exitfuncs()  # a process that was forked leaves them out
    return code


BaseProcess._bootstrap = _begin_with_environment


def install() -> None:
    """From now on `spawn` means this, in this process."""

    def start(process: Any) -> Any:
        process._environment_of_parent = dict(os.environ)
        return contexts.ForkServerProcess._Popen(process)

    contexts.SpawnProcess._Popen = staticmethod(start)
    contexts._concrete_contexts["forkserver"].set_forkserver_preload(IMPORTS)
