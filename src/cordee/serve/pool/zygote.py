"""A process that has imported what an engine needs, and forks engines: one is there in a tenth of the time.

`python -m cordee.serve.pool.zygote DEVICE SOCKET` hears a `Birth` in each message at the inherited SOCKET, with the
files that are to be the engine's output and errors, and answers with the engine's process id. An engine becomes a child
of the service that wants it and not of this process, so that it does not fall where this one does. Nothing is
computed here and no chip is touched: a fork would lose threads, and what a driver holds.
"""

import importlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from cordee.core.imports import kept
from cordee.core.programs import end_with_parent

MESSAGE_BYTES = 1 << 16
NEEDS = {
    "cpu": ("cordee.serve.engine.operators.cpu",),
    "cuda": ("cordee.serve.engine.operators.torch",),
    "ascend": ("torch_npu", "cordee.serve.engine.operators.ascend"),
}
"""What takes long to import, by the device."""
ADOPTED_S = 10.0
"""So long the service may take to become the parent of an engine; the kernel does it at once."""


class Birth(msgspec.Struct, frozen=True):
    """One engine to start, or something else that wants what engines import."""

    module: str
    """Its `main` is called."""
    arguments: tuple[str, ...]
    variables: dict[str, str]
    """Added to the environment."""


def main() -> None:
    """Fork an engine for each message until the service closes its end."""
    device, handle = sys.argv[1:]
    channel, service = socket.socket(fileno=int(handle)), os.getppid()
    with kept():  # and engines go on sharing what is here
        for name in ("cordee.serve.replica.__main__", *NEEDS[device]):
            with suppress(Exception):  # the engine will say what is missing
                importlib.import_module(name)
    while True:
        message, files, *_ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
        if not message:
            return
        birth = msgspec.json.decode(message, type=Birth)
        pid = _born(birth, (channel.fileno(), *files), service)
        for file in files:
            os.close(file)
        channel.send(str(pid).encode())


def _born(birth: Birth, files: Sequence[int], service: int) -> int:
    """Fork by way of a process that ends at once, so that the service adopts the engine; gives its id."""
    told, tells = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            if os.fork() == 0:
                _be(birth, (told, tells, *files), service)
        finally:
            os._exit(0)
    os.close(tells)
    os.waitpid(between, 0)
    pid = int(os.read(told, 32))
    os.close(told)
    return pid


def _be(birth: Birth, files: Sequence[int], service: int) -> None:
    """What an engine is. `files`: those of `_born`, its output, its errors. Does not return."""
    os.setsid()
    os.write(files[1], str(os.getpid()).encode())
    until_s = time.monotonic() + ADOPTED_S
    while os.getppid() != service and time.monotonic() < until_s:
        time.sleep(0.001)
    if os.getppid() != service:
        os._exit(1)
    end_with_parent()
    for target, source in enumerate(files[-2:], 1):
        os.dup2(source, target)
    for file in files:
        os.close(file)
    with suppress(OSError):
        Path("/proc/self/comm").write_text("cordee-engine")  # what ps and top show
    os.environ.update(birth.variables)
    sys.argv[1:] = birth.arguments
    code: int | str | None = 1
    try:
        importlib.import_module(birth.module).main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as Python itself does at the end of a program
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
