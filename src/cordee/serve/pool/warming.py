"""Lets a replica that has just started take a peer's prefixes before it gets requests."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from cordee.core.http.client import Client, Unreachable
from cordee.serve.gateway.fleet import Replica
from cordee.serve.policy.warming import Peer, source

GRACE_S = 2.0
"""So much longer than it may take until it is given up."""


class Taken(msgspec.Struct):
    """What the engine has taken."""

    blocks: int
    bytes: int


@dataclass(slots=True)
class Warming:
    """Asks engines to begin warm."""

    client: Client = field(default_factory=Client)

    async def warm(self, replica: Replica, others: Sequence[Replica], most_s: float) -> str | None:
        """Fill the replica's cache from one of the others; gives what to tell of it."""
        peers = {
            other.name: other
            for other in others
            if other.pool is replica.pool and other.state == "ready" and not other.mistrusted
        }
        found = source([Peer(p.name, p.memory.size, p.running) for p in peers.values()])
        if found is None or replica.pool.kind != "cordee" or not most_s:
            return None
        peer = peers[found.name]
        body = msgspec.json.encode({"peer": peer.url, "most_s": most_s})
        url = f"{replica.url}/cordee/warm"
        try:
            reply = await self.client.request(
                url, method="POST", body=body, timeout_s=most_s + GRACE_S
            )
            taken = msgspec.json.decode(reply.body, type=Taken)
        except (Unreachable, msgspec.DecodeError):
            return None  # it begins cold
        if not taken.blocks:
            return None
        replica.memory.take_over(peer.memory)
        return f"has {taken.blocks} blocks of its cache from {peer.name}"
