"""Runs a program in this process's place, and ends all that it started when it ends.

python -m cordee.serve.pool.watched PROGRAM ARGUMENT...

An engine of others starts processes that live on when it is killed. They are in its group, and a small process
beside it waits for its end, whatever the reason, and then ends the group. The program keeps this process's id,
so whoever started it waits for it, signals it and reads its exit code as if nothing were between.
"""

import os
import select
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Leave a watcher behind and become the program."""
    group = os.getpid()
    if os.getpgrp() != group:
        os.setpgid(0, 0)
    if os.fork() == 0:
        _watch(group)
        os._exit(0)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror}")


def _watch(program: int) -> None:
    """Wait for the end of a process and end its group."""
    os.setsid()  # out of the group, so that a signal to it does not stop the watch
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    with suppress(ProcessLookupError):
        ended = os.pidfd_open(program)
        if os.getppid() == program:
            select.select([ended], [], [])
    with suppress(ProcessLookupError):
        os.killpg(program, signal.SIGKILL)


if __name__ == "__main__":
    main()
