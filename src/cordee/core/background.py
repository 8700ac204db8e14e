"""Programs that run beside an event loop, and that must not outlive it."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from cordee.core.programs import end_with_parent


async def begun(
    command: Sequence[str],
    *,
    out: IO[bytes] | int,
    errors: IO[bytes] | int,
    hears: bool = False,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Start one that leads a group of its own and ends with us. `hears`: it is told things; `environment` is added to ours."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE if hears else subprocess.DEVNULL,
        stdout=out,
        stderr=errors,
        env={**os.environ, **(environment or {})},
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )
