"""A pool started anew, one replica after another, so that no request is lost."""

import asyncio
from collections.abc import AsyncIterator

from cordee.core.errors import UsageError
from cordee.serve.gateway.fleet import Fleet, Replica

LOOK_S = 0.05
LONGEST_S = 900.0
"""For one replica: the end of what it has to do, and its start."""
STARTS = ("starting", "dead")
"""States of one that is started anyway."""


async def roll(fleet: Fleet, pool: str) -> AsyncIterator[Replica]:
    """Give each replica once it is ready again. Raises `UsageError` where one cannot be restarted.

    Those that are drained, or leave because the pool is to be smaller, are left out; one that is just being started
    is waited for.
    """
    for replica in [one for one in fleet.replicas() if one.pool.name == pool]:
        if not _stays(fleet, replica) or replica.state == "draining":
            continue
        before = -1 if replica.state in STARTS else replica.restarts
        if replica.state not in STARTS:
            await fleet.act(replica, "restart")
        try:
            async with asyncio.timeout(LONGEST_S):
                while _stays(fleet, replica) and (
                    replica.restarts == before or replica.state != "ready"
                ):
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise UsageError(
                f"{replica.name} is not ready again after {LONGEST_S:.0f} s; those after it stay as they are"
            ) from error
        if _stays(fleet, replica):
            yield replica


def _stays(fleet: Fleet, replica: Replica) -> bool:
    return replica in fleet.replicas() and replica.state != "stopped"
