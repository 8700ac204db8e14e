"""A pool started anew, one replica after another, so that no request is lost."""

import asyncio
from collections.abc import AsyncIterator

from cordee.core.errors import UsageError
from cordee.serve.gateway.fleet import Fleet, Replica

LOOK_S = 0.05
LONGEST_S = 900.0
"""For one replica: the end of what it has to do, and its start."""


async def roll(fleet: Fleet, pool: str) -> AsyncIterator[Replica]:
    """Give each replica once it is ready again. Raises `UsageError` where one cannot be restarted."""
    for replica in [one for one in fleet.replicas() if one.pool.name == pool]:
        before = replica.restarts
        await fleet.act(replica, "restart")
        try:
            async with asyncio.timeout(LONGEST_S):
                while replica.restarts == before or replica.state != "ready":
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise UsageError(
                f"{replica.name} is not ready again after {LONGEST_S:.0f} s; those after it stay as they are"
            ) from error
        yield replica
