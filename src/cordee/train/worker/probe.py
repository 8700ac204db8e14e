"""How fast the link to another member is: bytes sent there and back, on a connection of their own."""

import socket
import time

import msgspec

from cordee.train.wire import (
    Answer,
    Challenge,
    Member,
    Probed,
    Refused,
    address,
    pack,
    read_body,
    read_exactly,
    sign,
)

SIZE_BYTES = 1 << 20
PROBE_S = 10.0


def probe(peer: Member, secret: str) -> Probed:
    """Measure the link to a member; 0 bytes a second where it cannot be reached."""
    try:
        with socket.create_connection(address(peer.feed), timeout=PROBE_S) as connection:
            challenge = msgspec.json.decode(read_body(connection), type=Challenge)
            connection.sendall(pack(Answer(sign(secret, challenge.nonce), "probe")))
            began_s = time.monotonic()
            connection.sendall(bytes(SIZE_BYTES))
            read_exactly(connection, SIZE_BYTES)
            return Probed(peer.worker, 2 * SIZE_BYTES / (time.monotonic() - began_s))
    except (OSError, EOFError, Refused, msgspec.DecodeError):
        return Probed(peer.worker, 0.0)


def answer_probe(connection: socket.socket) -> None:
    """The other side of it."""
    connection.settimeout(PROBE_S)
    connection.sendall(read_exactly(connection, SIZE_BYTES))
