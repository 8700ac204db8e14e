"""One replica: `python -m cordee.serve.replica --model FOLDER`."""

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cordee.core.errors import CordeeError
from cordee.core.http.loop import run
from cordee.core.http.server import Limits, listen
from cordee.serve.engine.build import Engine, Options, build
from cordee.serve.replica.command import FAILED
from cordee.serve.replica.service import Service

if TYPE_CHECKING:
    from cordee.serve.replica.followers import Followers

DRAIN_S = 600.0


@click.command()
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path))
@click.option("--name", default="", help="What clients call the model; else its folder's name.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, show_default=True, help="0: any that is free.")
@click.option("--device", type=click.Choice(["cpu", "cuda", "ascend"]), default="cpu")
@click.option("--threads", default=0, help="Of the CPU; 0: as many as pay.")
@click.option(
    "--weights",
    type=click.Choice(["", "float32", "float16", "bfloat16", "int8"]),
    default="",
    help="As in the file, or made narrower.",
)
@click.option(
    "--portable",
    is_flag=True,
    help="The same bits on every CPU; bfloat16 is faster without where there is a matrix unit.",
)
@click.option("--tensor-parallel", default=1, help="Over so many chips, a process for each.")
@click.option("--max-model-len", default=0, help="The longest context; 0: the model's.")
@click.option("--kv-tokens", default=0, help="Tokens that the cache holds; 0: as memory allows.")
@click.option("--step-rows", default=0, help="The most tokens of one step.")
@click.option("--most-running", default=0, help="The most choices at a time.")
@click.option("--most-waiting", default=1024, show_default=True)
@click.option("--drafts/--no-drafts", default=True, help="Guess ahead from what was said.")
@click.option("--canary/--no-canary", default=None, help="A known row in every step.")
@click.option(
    "--faults",
    is_flag=True,
    help="For tests: SIGUSR1 makes wrong results, SIGUSR2 resets connections.",
)
@click.option("--max-body-bytes", default=16_000_000, show_default=True)
def main(
    host: str,
    port: int,
    name: str,
    folder: Path,
    max_body_bytes: int,
    faults: bool,
    **given: object,
) -> None:
    """Serve one model on one chip, or on the CPU."""
    followers: Followers | None = None
    try:
        options = Options(folder=folder, name=name or folder.resolve().name, **given)  # type: ignore[arg-type]
        if options.tensor_parallel > 1:
            from cordee.serve.replica import (
                followers as group,  # PyTorch, which not every replica has
            )

            group.follow_and_end(options)
            followers = group.Followers.start(options.tensor_parallel, sys.argv[1:])
        engine = build(options)
        if followers is not None:
            followers.led_by(engine)
        limits = Limits(body_bytes=max_body_bytes)
        code = run(_serve(engine, host, port, limits, faults=faults))
    except CordeeError as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    if followers is not None:
        followers.end()
    sys.stdout.flush()
    os._exit(code)  # at once: a chip that hangs would hold the interpreter's own end


async def _serve(engine: Engine, host: str, port: int, limits: Limits, *, faults: bool) -> int:
    # The decoder's thread and the loop's hand the interpreter to one another many times in each step.
    sys.setswitchinterval(0.0002)
    loop = asyncio.get_running_loop()
    service = Service(engine.worker, engine.model, engine.identity)
    listener = await listen(service.handle, host, port, limits=limits)
    ended: asyncio.Future[int] = loop.create_future()

    def broken(_: str) -> None:
        # A moment later, so that clients are told before.
        loop.call_soon_threadsafe(loop.call_later, 0.2, _end, FAILED)

    def _end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    def drain() -> None:
        if service.draining:
            _end(0)
            return
        service.draining = True
        task = loop.create_task(listener.drain(DRAIN_S))
        task.add_done_callback(lambda _: _end(0))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
    if faults:
        loop.add_signal_handler(signal.SIGUSR1, engine.worker.ask, engine.worker.corrupt)
        loop.add_signal_handler(signal.SIGUSR2, listener.reset)
    engine.worker.on_broken = broken
    if engine.worker.broken:
        broken("")
    engine.worker.start(partial(service.deliver, loop))
    sys.stdout.write(json.dumps({"ready": {"port": listener.port}}) + "\n")
    sys.stdout.flush()
    return await ended


if __name__ == "__main__":
    main()
