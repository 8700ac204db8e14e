"""Has processes that a program spawns forked from one that has imported what they all import.

They begin as spawned ones do, with the environment and path of their parent, without seconds of
imports each. Who spawns calls `install` while it is itself as they are to begin: with the imports
made, and no chip opened.
"""

import atexit
import ctypes
import multiprocessing.context as contexts
import os
import signal
import time
from contextlib import suppress
from multiprocessing import forkserver, resource_sharer, util
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# A process that has put a tensor into a queue hands it over until it ends. On a chip, ending takes
# seconds: the adapter's exit function takes communicators and the device down.
END_S = 5.0
ENDING = "ending"  # the name of such a process meanwhile

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

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
    _start_server()


def _start_server() -> None:
    """The process that forks, forked from this one, where Python would start a new program."""
    start_program = util.spawnv_passfds

    def fork(_program: bytes, _arguments: Any, descriptors: Any) -> int:
        listener, alive = descriptors
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            try:
                forkserver.main(listener, alive, preload=[])
            finally:
                os._exit(0)
        return pid

    forkserver.set_forkserver_preload([])  # Python's own choice settles the start method
    util.spawnv_passfds = fork
    try:
        forkserver.ensure_running()
    finally:
        util.spawnv_passfds = start_program
