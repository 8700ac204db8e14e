"""Which chips of a group that ended are lost: each is asked by a process of its own."""

import asyncio
import signal
from collections.abc import Sequence

from cordee.core.programs import signal_group
from cordee.serve.pool.forked import Zygotes
from cordee.serve.pool.launch import Launch, chip_check
from cordee.serve.pool.process import begin

WAIT_S = 20.0
"""One that has not computed a product by then hangs."""


async def lost_chips(replica: Launch, chips: Sequence[int], zygotes: Zygotes) -> tuple[int, ...]:
    """Those of a replica that compute no more; none where it is not our engine, for nobody can be asked."""
    if replica.forked_as is None:
        return ()
    sound = await asyncio.gather(*(_is_sound(chip_check(replica, chip), zygotes) for chip in chips))
    return tuple(chip for chip, well in zip(chips, sound, strict=True) if not well)


async def _is_sound(check: Launch, zygotes: Zygotes) -> bool:
    asked = await begin(check, zygotes)
    try:
        async with asyncio.timeout(WAIT_S):
            return await asked.wait() == 0
    except TimeoutError:
        return False
    finally:
        signal_group(asked.pid, signal.SIGKILL)
        await asked.wait()
