"""Where a replica of this machine runs, and when it is started again."""

import asyncio
import time
from dataclasses import dataclass

from cordee.serve.gateway.fleet import Replica
from cordee.serve.pool.config import PoolConfig
from cordee.serve.pool.process import Process

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 20.0
BRIEF_PAUSE_S = 1.0
"""The longest before one is started again that had been ready: it can be so again."""
STEADY_S = 30.0
"""One that ran so long before it died is started again at once."""


@dataclass(slots=True, eq=False)
class Place:
    """Where a replica runs, and its process while it has one."""

    replica: Replica
    config: PoolConfig
    chips: tuple[int, ...] = ()
    process: Process | None = None
    task: "asyncio.Task[None] | None" = None
    wanted: bool = True
    leaves: bool = False
    """Whether it goes once it has ended: the pool is to be smaller."""
    started_s: float = 0.0
    pause_s: float = 0.0
    error: str = ""

    def pause(self, most_s: float) -> float:
        """How long to wait before the next start: longer, the more often it died soon after one."""
        steady = time.monotonic() - self.started_s > STEADY_S and self.started_s > 0
        longer_s = FIRST_PAUSE_S if steady else min(most_s, 2 * self.pause_s)
        self.pause_s = max(FIRST_PAUSE_S, longer_s)
        return self.pause_s
