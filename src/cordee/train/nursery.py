"""A process that has everything imported and forks workers: one that replaces another is there at once.

`python -m cordee.train.nursery`: reads a line of JSON for each worker to start, and writes one for each that began or
ended. It runs no operators itself, so that it has no threads that a fork would lose.
"""

import json
import os
import runpy
import select
import signal
import sys
from collections.abc import Mapping, Sequence

import msgspec

from cordee.core.programs import end_with_parent, signal_group

LOOK_S = 0.02


class Birth(msgspec.Struct, frozen=True):
    """One worker to start."""

    worker: int
    script: str
    arguments: tuple[str, ...]
    variables: dict[str, str]
    log: str


def main() -> None:
    """Fork workers until the other side closes its end."""
    end_with_parent()
    import torch  # what takes long to import, once for all workers
    import torch._dynamo  # which the first optimizer of a process imports, for seconds
    import torch.distributed

    import cordee.train.guest.ddp  # noqa: F401 - likewise

    del torch
    _say({"ready": os.getpid()})
    pids: dict[int, int] = {}
    rest = b""
    while True:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], LOOK_S if pids else None)
        if readable:
            data = os.read(sys.stdin.fileno(), 1 << 20)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                birth = msgspec.json.decode(line, type=Birth)
                pid = _fork(birth)
                pids[pid] = birth.worker
                _say({"worker": birth.worker, "pid": pid})
        _reap(pids)


def _reap(pids: dict[int, int]) -> None:
    """Tell of those that have ended."""
    while pids:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        signal_group(pid, signal.SIGKILL)  # what it left behind
        _say({"worker": pids.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _fork(birth: Birth) -> int:
    pid = os.fork()
    if pid == 0:
        _run(birth.script, birth.arguments, birth.variables, birth.log)
    return pid


def _run(script: str, arguments: Sequence[str], variables: Mapping[str, str], log: str) -> None:
    """What a worker is: the script, as Python runs it. Does not return."""
    os.setsid()
    end_with_parent()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((empty, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.environ.update(variables)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    code = 0
    try:
        run(script)
    except SystemExit as end:
        code = _code(end)
    except BaseException as error:  # noqa: BLE001 - as Python itself does at the end of a program
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(script: str) -> None:
    """A script, as Python runs it; a plain DDP script as one of the job."""
    from cordee.train.guest.ddp import adopted  # with PyTorch, which the agent does not need

    guest = adopted(script)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if guest is None or end.code:
            raise
    if guest is not None:
        guest.end()


def _code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return int(end.code or 0)
    sys.stderr.write(f"{end.code}\n")
    return 1


def _say(told: Mapping[str, int]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
