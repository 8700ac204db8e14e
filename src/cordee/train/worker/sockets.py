"""The sockets of this process by inode, for numbers of descriptors are used again.

Gloo does not tell which are its own: they are those that were opened while a group was formed, but for those that
were said to be something else's.
"""

import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_others: set[int] = set()
on_opened: list[Callable[[], None]] = []
"""Called when connections to other workers were opened."""
TCP_INFO_BYTES = 136
MOVED_AT = 120
"""Where struct tcp_info has tcpi_bytes_acked and tcpi_bytes_received (include/uapi/linux/tcp.h)."""


def opened() -> None:
    """There are new connections to other workers."""
    for told in on_opened:
        told()


def belongs_elsewhere(connection: socket.socket) -> None:
    """It is no group's, whenever it was opened."""
    _others.add(os.fstat(connection.fileno()).st_ino)


def sockets() -> set[int]:
    """Those that may be a group's."""
    return by_inode().keys() - _others


def by_inode(process: int | None = None) -> dict[int, int]:
    """The file descriptors of the sockets of a process; of this one where none is given."""
    found = {}
    for entry in Path(f"/proc/{process or 'self'}/fd").iterdir():
        with suppress(OSError):
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
            if match:
                found[int(match[1])] = int(entry.name)
    return found


def shut(inodes: set[int]) -> None:
    """Break off connections, also those that are not there yet, so that whoever waits for them is woken."""
    for taken in _taken(inodes):
        with suppress(OSError):
            taken.shutdown(socket.SHUT_RDWR)


def moved_bytes(inodes: set[int]) -> int:
    """What has come in over connections, and what has gone out and arrived."""
    moved = 0
    for taken in _taken(inodes):
        with suppress(OSError, struct.error):
            info = taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
            moved += sum(struct.unpack_from("=QQ", info, MOVED_AT))
    return moved


def _taken(inodes: set[int]) -> Iterator[socket.socket]:
    """Those that are there, but for what listens, one after another."""
    descriptors = by_inode()
    for inode in inodes & descriptors.keys():
        with suppress(OSError):
            taken = socket.socket(fileno=os.dup(descriptors[inode]))
            with taken:
                if not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield taken
