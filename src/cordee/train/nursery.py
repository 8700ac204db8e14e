"""A process that starts the workers of a host: those on the CPU it forks with all imported, so that they are there at once.

`python -m cordee.train.nursery FOLDER`: reads a line of JSON for each worker to start, and writes one for each that
began or ended. It runs no operators itself, so that it has no threads that a fork would lose. Where the agent is gone
it ends all workers with what they have started, and removes their shared memory unless a restart wants it.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from cordee.core.errors import UsageError
from cordee.core.events import Events
from cordee.core.imports import kept
from cordee.core.programs import end_with_parent, outlive_parent, signal_group
from cordee.train.checkpoint.custody import custody
from cordee.train.checkpoint.keep import keep_of

LOOK_S = 0.02
NOT_FOUND = 127
"""The exit code of a program that is not there, as shells have it."""


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """One worker to start."""

    worker: int
    forked: bool
    command: tuple[str, ...]
    """A script with its arguments where it is forked, else a program."""
    variables: dict[str, str]
    log: str


def main() -> None:
    """Start workers until the other side closes its end."""
    outlive_parent()
    pids: dict[int, int] = {}
    rest = b""
    while True:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], LOOK_S if pids else None)
        if readable:
            data = os.read(sys.stdin.fileno(), 1 << 20)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                birth = msgspec.json.decode(line, type=Birth)
                pid = _born(birth)
                pids[pid] = birth.worker
                _say({"worker": birth.worker, "pid": pid})
        _reap(pids)
    _end_all(pids)
    _forget(Path(sys.argv[1]))


@cache
def import_all() -> None:
    """What takes long to import, once for all workers."""
    with kept():  # and workers go on sharing what is here
        import torch
        import torch._dynamo  # which the first optimizer of a process imports, for seconds
        import torch.distributed

        import cordee.train.guest.ddp  # noqa: F401 - likewise

        del torch


def _reap(pids: dict[int, int]) -> None:
    """Tell of those that have ended."""
    while pids:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        signal_group(pid, signal.SIGKILL)  # what it left behind
        _say({"worker": pids.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _end_all(pids: Collection[int]) -> None:
    for pid in pids:
        signal_group(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # one that was just forked leads no group yet
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _forget(folder: Path) -> None:
    """Remove what is in shared memory, unless that is for a restart, or another job has the folder by now."""
    keep = keep_of(os.environ)
    if keep.memory and not keep.folder and folder.is_dir():
        with suppress(UsageError), custody(keep, folder, Events()):
            pass


def _born(birth: Birth) -> int:
    if birth.forked:
        import_all()
    pid = os.fork()
    if pid == 0:
        _run(birth)
    return pid


def _run(birth: Birth) -> None:
    """What a worker is. Does not return."""
    os.setsid()
    end_with_parent()
    out = os.open(birth.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((empty, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    if not birth.forked:
        _execute(birth.command, birth.variables)
    os.environ.update(birth.variables)
    script, *arguments = birth.command
    _script(script, arguments)


def _execute(command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Become a program. Does not return."""
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):  # which Python ignores, and a program would, too
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), os.environ | variables)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(NOT_FOUND)


def _script(script: str, arguments: Sequence[str]) -> None:
    """Be a script, as Python runs it. Does not return."""
    from cordee.train.guest.script import run  # with PyTorch, which the agent does not need

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


def _code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return int(end.code or 0)
    sys.stderr.write(f"{end.code}\n")
    return 1


def _say(told: Mapping[str, int]) -> None:
    with suppress(BrokenPipeError):  # the agent is gone, which is noticed where it is listened to
        os.write(sys.stdout.fileno(), json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    main()
