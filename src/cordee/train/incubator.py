"""A process that has PyTorch imported, and forks nurseries for jobs that follow one another.

`python -m cordee.train.incubator SOCKET` listens there until it is ended; jobs find it by the variable
`CORDEE_TRAIN_INCUBATOR`. One on the CPU then begins in a second, where it had imported PyTorch for four. Who wants
a nursery sends a line with its folder and environment, and the file for errors; the connection is then what the
nursery hears and tells. One whose environment would have had PyTorch imported in another way is not forked: the
connection is closed.
"""

import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from cordee.core.errors import UsageError
from cordee.train import nursery
from cordee.train.devices import variables

VARIABLE = "CORDEE_TRAIN_INCUBATOR"
MESSAGE_BYTES = 1 << 20
ASKS_S = 5.0
"""So long a line may take to come."""
AT_IMPORT = (
    "ASCEND",
    "CUDA_",
    "GOMP_",
    "KMP_",
    "LD_",
    "MKL_",
    "OMP_",
    "PYTHON",
    "PYTORCH",
    "TORCH",
)
"""How the names of variables begin that Python, PyTorch and its libraries read when they start."""


class Wanted(msgspec.Struct, frozen=True):
    """A nursery to fork."""

    folder: str
    place: str
    """The folder that it runs in."""
    variables: dict[str, str]
    """Its whole environment."""


def main() -> None:
    """Fork a nursery for each connection."""
    if len(sys.argv) != 2:
        raise UsageError("python -m cordee.train.incubator SOCKET: a path that does not exist yet")
    had = at_import(os.environ)  # before PyTorch adds to it
    nursery.import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    with socket.socket(socket.AF_UNIX) as listener:
        usual = os.umask(0o077)
        listener.bind(sys.argv[1])  # for this user alone
        os.umask(usual)
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError, msgspec.DecodeError):
                connection.settimeout(ASKS_S)
                _answer(listener, connection, had)


def _answer(listener: socket.socket, connection: socket.socket, had: Mapping[str, str]) -> None:
    line, files, *_ = socket.recv_fds(connection, MESSAGE_BYTES, 1)
    try:
        while line and not line.endswith(b"\n"):
            more = connection.recv(MESSAGE_BYTES)
            line = line + more if more else b""
        if not line or not files:
            return
        wanted = msgspec.json.decode(line, type=Wanted)
        if at_import(wanted.variables) == had and os.fork() == 0:
            listener.close()
            _be(wanted, connection, files[0])
    finally:
        for file in files:
            os.close(file)


def at_import(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment decides how PyTorch is imported."""
    later = variables()  # which is read when groups are made
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(AT_IMPORT) and name not in later
    }


def _be(wanted: Wanted, connection: socket.socket, errors: int) -> None:
    """What the nursery is. Does not return."""
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.setblocking(True)
        for source, target in ((connection.fileno(), 0), (connection.fileno(), 1), (errors, 2)):
            os.dup2(source, target)
        connection.close()
        os.close(errors)
        os.chdir(wanted.place)
        os.environ.clear()
        os.environ.update(wanted.variables)
        sys.argv[1:] = [wanted.folder]
        os.write(1, msgspec.json.encode({"nursery": os.getpid()}) + b"\n")
        nursery.main()
    except BaseException:  # noqa: BLE001 - as Python itself does at the end of a program
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
