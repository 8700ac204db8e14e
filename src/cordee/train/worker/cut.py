"""Links that carry nothing, or little, for rehearsals: between this process and another worker on the same computer.

What comes in on a connection is dropped by the kernel, by a filter on the socket: so neither end is told, and TCP
sends again and again, as with a cable that is cut. What is sent on a slow one is paced by the kernel. None of it needs
privileges. Where workers have network namespaces of their own, a rehearsal runs `ip` and `tc` instead.
"""

import ctypes
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cordee.train.wire import address
from cordee.train.worker import sockets

LOOK_S = 0.1
LISTENS = "0A"
"""Source: proc_pid_net(5), include/net/tcp_states.h."""
SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_MAX_PACING_RATE = 26, 27, 47
"""Source: include/uapi/asm-generic/socket.h."""
NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A filter of one instruction, BPF_RET with 0: no byte of any packet is let through (linux/filter.h)."""
UNPACED = 0xFFFFFFFF


@dataclass(slots=True)
class Cut:
    """One link of this process."""

    process: int
    """That of the worker at the other end."""
    spared: frozenset[str]
    """Addresses, as the kernel writes them: what goes by way of them is another link."""
    bytes_per_s: int
    """0: nothing comes."""
    until_s: float
    _struck: set[int] = field(default_factory=set)

    def strike(self) -> None:
        """On all connections that there are now."""
        with suppress(OSError):  # the other process, or a connection, is gone
            for inode in _towards(self.process, self.spared) - self._struck:
                self._struck.add(inode)
                _set(inode, self.bytes_per_s)

    def mend(self) -> None:
        for inode in self._struck:
            with suppress(OSError):
                _set(inode, None)

    def last(self) -> None:
        """See to connections that are opened, as long as it lasts."""
        while time.monotonic() < self.until_s:
            self.strike()
            time.sleep(LOOK_S)
        sockets.on_opened.remove(self.strike)
        self.mend()


def cut(to: str, bytes_per_s: int, for_s: float, others: Iterable[str]) -> None:
    """Cut the link to the worker that listens there, or slow it down; for good where `for_s` is 0.

    `others`: addresses of this host over which there is another link.
    """
    until_s = time.monotonic() + for_s if for_s else float("inf")
    spared = frozenset(map(_written, others))
    made = Cut(_listener(to), spared, bytes_per_s, until_s)
    made.strike()
    sockets.on_opened.append(made.strike)
    threading.Thread(target=made.last, name="train_cut", daemon=True).start()


def _set(inode: int, bytes_per_s: int | None) -> None:
    """So many bytes a second go over a socket, none come, or all again. Raises `OSError`."""
    descriptor = sockets.by_inode().get(inode, -1)
    with socket.socket(fileno=os.dup(descriptor)) as found:
        if bytes_per_s:
            found.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, bytes_per_s)
        elif bytes_per_s is not None:
            program = ctypes.create_string_buffer(NOTHING)
            filter_ = struct.pack("HL", 1, ctypes.addressof(program))
            found.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)
        else:
            found.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("I", UNPACED))
            found.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def _towards(process: int, spared: frozenset[str]) -> set[int]:
    """This process's sockets whose other end is a socket of another one, or will be when that lets them in."""
    theirs = sockets.by_inode(process)
    connections = _connections()
    found = {ends: inode for ends, inode, _ in connections}
    listens = {ends[0] for ends, inode, at in connections if at == LISTENS and inode in theirs}
    own = sockets.by_inode()
    return {
        inode
        for (local, remote), inode in found.items()
        if inode in own
        and (found.get((remote, local)) in theirs or remote in listens)
        and spared.isdisjoint((local[:-5], remote[:-5]))
    }


def _listener(to: str) -> int:
    """The process that listens at HOST:PORT. Raises `OSError` where there is none."""
    host, port = address(to)
    place = f"{_written(host)}:{port:04X}"
    inode = next(i for (local, _), i, state in _connections() if (local, state) == (place, LISTENS))
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if inode in sockets.by_inode(int(entry.name)):
                    return int(entry.name)
    raise OSError(f"no process listens at {to}")


def _written(host: str) -> str:
    """An address as /proc has it."""
    return socket.inet_aton(host)[::-1].hex().upper()


def _connections() -> list[tuple[tuple[str, str], int, str]]:
    """Both ends, the inode and the state of each connection of this network namespace."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                remote,
                state,
                *_,
            ) = line.split()
            ends = re.sub(MAPPED, "", local), re.sub(MAPPED, "", remote)
            found.append((ends, int(line.split()[9]), state))
    return found


MAPPED = r"^0{16}FFFF0000(?=.{8}:)"
"""How an IPv4 address begins where it is written as one of IPv6."""
