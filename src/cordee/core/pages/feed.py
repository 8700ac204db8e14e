"""What pages that follow something hear of it: server-sent events, as `live.js` reads them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from cordee.core.http.exchange import Exchange

LOOK_S = 0.5
"""So often readers get what is new."""
QUIET_S = 10.0
"""So often they hear that somebody is still there."""
QUIET = b": quiet\n\n"


class Feed:
    """A state, told to those who read it each time that it has changed, and a last time at the end."""

    def __init__(self, state: Callable[[], bytes]) -> None:
        """`state`: as a line of JSON."""
        self._state = state
        self._over = asyncio.Event()

    def end(self) -> None:
        """Nothing will change any more."""
        self._over.set()

    async def tell(self, exchange: Exchange) -> None:
        """Answer a reader, until nothing will change or it has gone."""
        exchange.start(200)
        told, quiet_s, over = b"", 0.0, False
        while not over and not exchange.gone:
            over, state = self._over.is_set(), self._state()
            if state != told:
                told, quiet_s = state, 0.0
                exchange.write(b"event: status\ndata: " + state + b"\n\n")
            elif quiet_s >= QUIET_S:
                quiet_s = 0.0
                exchange.write(QUIET)
            await exchange.writable()
            if not over:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), LOOK_S)
            quiet_s += LOOK_S
        exchange.finish()
