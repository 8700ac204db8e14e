"""The sockets of this process by inode, for numbers of descriptors are used again.

Gloo does not tell which are its own: they are those that were opened while a group was formed, but for those that
were said to be something else's.
"""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

_others: set[int] = set()


def belongs_elsewhere(connection: socket.socket) -> None:
    """It is no group's, whenever it was opened."""
    _others.add(os.fstat(connection.fileno()).st_ino)


def sockets() -> set[int]:
    """Those that may be a group's."""
    return _by_inode().keys() - _others


def _by_inode() -> dict[int, int]:
    """The file descriptors of sockets."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
            if match:
                found[int(match[1])] = int(entry.name)
    return found


def shut(inodes: set[int]) -> None:
    """Break off connections, so that whoever waits for them is woken."""
    descriptors = _by_inode()
    for inode in inodes & descriptors.keys():
        with suppress(OSError):
            taken = socket.socket(fileno=os.dup(descriptors[inode]))
            try:
                taken.getpeername()  # what listens is left alone
                taken.shutdown(socket.SHUT_RDWR)
            finally:
                taken.close()
