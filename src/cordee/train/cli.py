"""The command `cordee train`."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack, get_args

import click

from cordee.core.commands import Commands
from cordee.core.errors import UsageError
from cordee.core.events import Event
from cordee.core.folders import made
from cordee.train.agent import Program
from cordee.train.checkpoint.custody import keep_for
from cordee.train.devices import MACHINE, check_chips
from cordee.train.guest.plain import fits
from cordee.train.hosts import HostOptions, forget_secret, host_options, meeting_of
from cordee.train.launch import launch
from cordee.train.live import Live
from cordee.train.order import Order
from cordee.train.page.record import Record
from cordee.train.page.server import page
from cordee.train.policy.trust import Checks, Nonfinite
from cordee.train.policy.workers import Limits
from cordee.train.rendezvous import Meeting
from cordee.train.worker.job import Mode

KEEP_HELP = "The state is kept in shared memory every so many steps; 0: never."
CHECKPOINT_HELP = "A folder for checkpoints; the job goes on at the newest whole one there."
PAGE_HELP = "PORT or HOST:PORT of the job's page and its figures for Prometheus; 0: any that is free, off: none."
RESTARTS_HELP = "So often in a row the job begins again when no worker is left."


LATER = {
    "manifests": "cordee.train.kubernetes.cli:manifests",
    "show": "cordee.train.page.cli:show",
}


@click.group(cls=Commands, later=LATER, usual="run")
def train() -> None:
    """Run a training script on several workers, and go on when some of them fail.

    \b
    cordee train --workers 4 --spares 1 -- train.py --steps 1000
    cordee train run --help            what may stand before the script
    cordee train show FOLDER           a job that has ended, as one page
    cordee train manifests --help      a job on several hosts of a Kubernetes cluster
    """


@train.command(
    name="run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--workers", "-n", default=2, show_default=True, help="Members when all is well.")
@click.option("--spares", default=0, show_default=True, help="More that wait, ready to come in.")
@click.option("--min", "least", default=1, show_default=True, help="With fewer the job waits.")
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    help="exact: the same bits whatever fails; fast: an ordinary all-reduce; local: for weak links, workers "
    "train by themselves and exchange how far they have come; adaptive: fast, until a link is slow and workers may "
    "train by themselves. Else as the program says.",
)
@click.option("--silent-s", default=3.0, show_default=True, help="Dead after so long a silence.")
@click.option("--hang-s", default=3.0, show_default=True, help="How long others wait for a worker.")
@click.option("--even", is_flag=True, help="Shards stay spread evenly where a worker is slow, too.")
@click.option(
    "--check-every",
    default=1,
    show_default=True,
    help="Steps after which parameters are compared; 0: never.",
)
@click.option(
    "--recheck-every",
    default=100,
    show_default=True,
    help="Steps after which a shard is computed twice; 0: never.",
)
@click.option(
    "--nonfinite",
    type=click.Choice(get_args(Nonfinite)),
    default="skip",
    show_default=True,
    help="What is done with a step whose gradient is not finite by the program's own fault.",
)
@click.option("--threads", default=1, show_default=True, help="Of the CPU for each worker.")
@click.option("--chip", help="Virtual chips of this kind, as Ascend910B3.")
@click.option("--chips", default=0, help="Chips of this computer: a worker on each. 0: the CPU.")
@click.option("--keep-every", type=click.IntRange(0), default=1, show_default=True, help=KEEP_HELP)
@click.option("--checkpoint", type=click.Path(path_type=Path), help=CHECKPOINT_HELP)
@click.option(
    "--checkpoint-every", type=click.IntRange(1), default=100, show_default=True, help="In steps."
)
@click.option(
    "--restarts", type=click.IntRange(0), default=3, show_default=True, help=RESTARTS_HELP
)
@click.option("--folder", type=click.Path(path_type=Path), help="Takes journal and logs.")
@click.option("--per-host", type=click.IntRange(1), help="At most so many workers on a host.")
@host_options
@click.option("--page", "where", default="0", show_default=True, metavar="PORT", help=PAGE_HELP)
@click.argument("command", nargs=-1, required=True)
def run(  # noqa: PLR0913 - an argument is an option
    workers: int,
    spares: int,
    least: int,
    mode: Mode | None,
    silent_s: float,
    hang_s: float,
    even: bool,
    check_every: int,
    recheck_every: int,
    nonfinite: Nonfinite,
    threads: int,
    chip: str | None,
    chips: int,
    keep_every: int,
    checkpoint: Path | None,
    checkpoint_every: int,
    restarts: int,
    folder: Path | None,
    where: str,
    per_host: int | None,
    command: tuple[str, ...],
    **hosts: Unpack[HostOptions],
) -> None:
    """Run a script on several workers; `run` itself may be left out."""
    _on_virtual_chips(chip, chips or workers + spares)
    meeting, secret, place, host = _met(hosts)
    check_chips(chips, workers + spares if meeting is None else 0, os.environ)
    folder = _made(folder, host)
    limits = Limits(
        shards=0,
        workers=workers,
        least=least,
        silent_s=silent_s,
        hang_s=hang_s,
        moves=not even,
        restarts=restarts,
    )
    first, *arguments = _known(command, spares, mode)
    program = Program(
        script=first,
        arguments=arguments,
        logs=folder,
        threads=threads,
        chips=range(chips or (workers + spares if chip is not None else 0)),
        most=per_host or (chips if meeting is not None and chips else None),
    )
    order = Order(
        program=program,
        limits=limits,
        spares=spares,
        mode=mode,
        checks=Checks(check_every, recheck_every, nonfinite),
        folder=folder,
        keep=keep_for(folder, keep_every, checkpoint, checkpoint_every, host),
        meeting=meeting,
        place=place,
        secret=secret,
    )
    _run(order, where, hosts)


def _run(order: Order, where: str, hosts: HostOptions) -> None:
    order = replace(order, others=hosts["other_address"])
    try:
        asyncio.run(_seen(order, where, Live(sys.stdout, order.folder)))
    finally:
        if hosts["slurm"]:
            forget_secret()


async def _seen(order: Order, where: str, live: Live) -> None:
    """Run a job that tells the terminal, and the page where one is wanted."""
    if where == "off":
        await launch(order, live.see)
        return
    record = Record()

    def see(event: Event) -> None:
        live.see(event)
        record.see(event)

    async with page(record, where) as address:
        live.say(f"page: {address}")
        await launch(order, see)


def _met(hosts: HostOptions) -> tuple[Meeting | None, str, tuple[str, int], str]:
    """Where hosts meet, if there are several, and their secret; where this one's agent listens, and this one's name."""
    meeting, secret = meeting_of(hosts) or (None, "")
    if meeting is None:
        return None, secret, ("127.0.0.1", 0), ""
    place = meeting.place()
    return meeting, secret, place, place[0]


def _made(folder: Path | None, host: str) -> Path:
    """The folder of a job, or of one of its hosts."""
    whole = folder or Path(tempfile.mkdtemp(prefix=time.strftime("cordee-train-%H%M%S-")))
    return made(whole / host)


def _on_virtual_chips(chip: str | None, chips: int) -> None:
    """Run the same command again where there are such chips, if they are wanted and this is not there yet."""
    if chip is None or MACHINE in os.environ:
        return
    run = [sys.executable, "-m", "cordee", "run", "--chip", chip, "--chips", str(chips)]
    os.execv(sys.executable, [*run, "--", sys.executable, "-m", "cordee", *sys.argv[1:]])


def _known(words: Sequence[str], spares: int, mode: Mode | None) -> Sequence[str]:
    """What a worker runs: a script for this Python, or a program. Raises `UsageError`."""
    if words[0].endswith(".py") and not Path(words[0]).is_file():
        raise UsageError(f"{words[0]}: there is no such script")
    fits(words[0], spares, mode)
    return words
