"""How fast the link to another member is: bytes sent there and back, on a connection of their own."""

import socket
import threading
import time
from collections.abc import Sequence
from statistics import median

import msgspec

from cordee.train.wire import (
    Answer,
    Challenge,
    Member,
    Probed,
    Refused,
    Role,
    address,
    pack,
    read_body,
    read_exactly,
    sign,
)
from cordee.train.worker.sockets import belongs_elsewhere, opened

PIECE_BYTES, PIECES = 1 << 16, 32
"""So much is sent there and back, one piece after another: more than what many a slow link lets through at first."""
ENOUGH_S = 1.0
"""After so long it is known how slow a link is."""
PROBE_S = 10.0


def reached(peer: Member, secret: str, most_s: float) -> bool:
    """Whether a member is reached in that time, and answers."""
    try:
        with entered(peer.feed, secret, "reach", most_s) as connection:
            read_exactly(connection, 1)
            return True
    except (OSError, EOFError, Refused, msgspec.DecodeError):
        return False


def probe(peer: Member, secret: str) -> Probed:
    """Measure the link to a member; 0 bytes a second where it cannot be reached."""
    try:
        with entered(peer.feed, secret, "probe", PROBE_S) as connection:
            return Probed(peer.worker, _bytes_per_s(connection))
    except (OSError, EOFError, Refused, msgspec.DecodeError):
        return Probed(peer.worker, 0.0)


def _bytes_per_s(connection: socket.socket) -> float:
    """What a connection carries, there and back. Raises `OSError`, `EOFError`."""
    took_s: list[float] = []
    while len(took_s) < PIECES and sum(took_s) < ENOUGH_S:
        began_s = time.monotonic()
        connection.sendall(bytes(PIECE_BYTES))
        read_exactly(connection, PIECE_BYTES)
        took_s.append(time.monotonic() - began_s)
    # Of a fast link some pieces have only waited for a processor.
    each_s = median(took_s) if len(took_s) == PIECES else sum(took_s) / len(took_s)
    return 2 * PIECE_BYTES / each_s


def unreached(peers: Sequence[Member], secret: str, most_s: float) -> list[int]:
    """Those of several members that are not reached in that time."""
    found: dict[int, bool] = {}

    def look(peer: Member) -> None:
        found[peer.worker] = reached(peer, secret, most_s)

    looks = [threading.Thread(target=look, args=(peer,), daemon=True) for peer in peers]
    for thread in looks:
        thread.start()
    for thread in looks:
        thread.join()
    return sorted(number for number, answered in found.items() if not answered)


def entered(to: str, secret: str, role: Role, most_s: float) -> socket.socket:
    """A connection to where a worker takes what others feed, which was told what it is for. Raises `OSError`, `EOFError`."""
    connection = socket.create_connection(address(to), timeout=most_s)
    try:
        belongs_elsewhere(connection)
        opened()
        challenge = msgspec.json.decode(read_body(connection), type=Challenge)
        connection.sendall(pack(Answer(sign(secret, challenge.nonce), role)))
    except BaseException:
        connection.close()
        raise
    return connection


def answer_probe(connection: socket.socket) -> None:
    """The other side of it. Raises `EOFError` in the end."""
    connection.settimeout(PROBE_S)
    while True:
        connection.sendall(read_exactly(connection, PIECE_BYTES))
