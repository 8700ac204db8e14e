"""Work that goes on beside other work: where it fails as nobody expects, that is told at once rather than when it is missed."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Tasks of one object."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Have it go on from now."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """None of it goes on."""
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Wait until all of it has ended by itself."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            told = {"message": "work in the background failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(told)


def on_failure(told: Callable[[str, str], None]) -> None:
    """From now on, of what fails in a task or a callback of this loop: call with the error, and where it was raised."""

    def failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or not {"task", "handle"} & context.keys():
            loop.default_exception_handler(context)  # such as a socket that cannot be accepted now
            return
        trace = "".join(traceback.format_exception(error))
        told(f"{type(error).__name__}: {error}", trace)

    asyncio.get_running_loop().set_exception_handler(failed)
