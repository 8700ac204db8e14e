"""The command `cordee fault`: strike a machine that runs, see its faults, repair them."""

import json
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.console import Console

from cordee.core.commands import Commands
from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON
from cordee.core.tables import table
from cordee.emulator import faults, machine
from cordee.emulator.faults import words
from cordee.emulator.faults.records import as_json as told

F = TypeVar("F", bound=Callable[..., Any])
UNITS_S = {"": 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """Seconds of a number with or without a unit: 20, 20s, 500ms, 5min, 1h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|min|h|)", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration such as 20s, 500ms, 5min or 1h")
    return float(found[1]) * UNITS_S[found[2]]


def allocation(text: str) -> int | str:
    """A number, or "largest"."""
    if text != "largest" and not text.isdigit():
        raise click.BadParameter(f"{text!r} is neither a number nor 'largest'")
    return text if text == "largest" else int(text)


MACHINE = click.option("--machine", "path", help="Which, where several run.")
CHIP = click.option("--chip", type=int, required=True, help="Number of the chip.")
FOR = click.option("--for", "for_s", type=duration, help="Repair it after so long.")


def when(command: F) -> F:
    """The options that say which machine a fault strikes, and when."""
    for option in (
        click.option("--after", "after_s", type=duration, help="Strike in so long, not now."),
        click.option("--at-step", type=int, help="Strike after that step of the chip's optimizer."),
        MACHINE,
    ):
        command = option(command)
    return command


@click.group(cls=Commands)
def fault() -> None:
    """Strike a virtual machine that runs with faults, or repair them."""


@fault.command("kill")
@CHIP
@when
def kill(path: str | None, **given: Any) -> None:
    """A chip answers nothing any more."""
    _strike(path, faults.ChipLost(**given))


@fault.command("memory")
@CHIP
@click.option(
    "--allocation",
    type=allocation,
    default="largest",
    show_default=True,
    help="Which of the process's, in order of address.",
)
@click.option(
    "--report",
    type=click.Choice(["ecc", "uce"]),
    default="ecc",
    show_default=True,
    help="As what the chip reports it.",
)
@when
def memory(path: str | None, **given: Any) -> None:
    """Memory of a chip has an error that cannot be corrected."""
    _strike(path, faults.BadMemory(**given))


@fault.command("hang")
@CHIP
@FOR
@when
def hang(path: str | None, **given: Any) -> None:
    """A chip takes work and does not end it."""
    _strike(path, faults.Hang(**given))


@fault.command("slow")
@CHIP
@click.option("--factor", type=float, required=True, help="How many times as long all takes.")
@FOR
@when
def slow(path: str | None, **given: Any) -> None:
    """Operators on a chip take longer."""
    _strike(path, faults.Slow(**given))


@fault.command("wrong")
@CHIP
@click.option("--operator", required=True, help="Whose results, such as aten::mm.")
@click.option("--bit", type=int, required=True, help="Of the first element; 0 is the least.")
@FOR
@when
def wrong(path: str | None, **given: Any) -> None:
    """An operator's results are silently wrong on a chip."""
    _strike(path, faults.WrongResult(**given))


@fault.command("link")
@click.option("--between", type=(int, int), required=True, help="The chips that it joins.")
@click.option("--down", is_flag=True, help="Nothing passes.")
@click.option("--slow", "factor", type=float, help="Transfers take so many times as long.")
@click.option("--loss", "fraction", type=float, help="So large a part of the packets is lost.")
@click.option("--flap", type=(duration, duration), help="It is up and down so long by turns.")
@FOR
@when
def link(path: str | None, **given: Any) -> None:
    """The links between two chips are down, slow, lossy, or come and go."""
    _strike(path, *_link_faults(given))


def _link_faults(given: dict[str, Any]) -> list[faults.Fault]:
    down, factor, fraction, flap = (
        given.pop(key) for key in ("down", "factor", "fraction", "flap")
    )
    found: list[faults.Fault] = []
    if down:
        found.append(faults.LinkDown(**given))
    if factor is not None:
        found.append(faults.LinkSlow(factor=factor, **given))
    if fraction is not None:
        found.append(faults.LinkLossy(fraction=fraction, **given))
    if flap is not None:
        found.append(faults.LinkFlapping(up_s=flap[0], down_s=flap[1], **given))
    if not found:
        raise UsageError("say what is wrong with the link: --down, --slow, --loss or --flap")
    return found


@fault.command("partition")
@click.option("--nodes", type=(int, int), required=True, help="Between which nothing passes.")
@FOR
@when
def partition(path: str | None, **given: Any) -> None:
    """The network between two nodes is gone."""
    _strike(path, faults.Partition(**given))


@fault.command("host")
@click.option("--node", type=int, required=True, help="Number of the node.")
@when
def host(path: str | None, **given: Any) -> None:
    """A node is lost, with its chips and the processes that use them."""
    _strike(path, faults.HostLost(**given))


@fault.command("list")
@AS_JSON
@MACHINE
def list_(path: str | None, as_json: bool) -> None:
    """Show the faults that a machine was given."""
    found = faults.entries(_machine(path))
    if as_json:
        print(json.dumps([told(entry) for entry in found], indent=2))
        return
    made = table(("number", "fault", "where", "when"), (), ("state",))
    for entry in found:
        what = (entry.fault.kind, entry.fault.place, words.trigger(entry.fault), words.state(entry))
        made.add_row(str(entry.number), *what)
    Console().print(made if found else "no faults")


@fault.command("repair")
@click.argument("numbers", type=int, nargs=-1)
@click.option("--all", "every", is_flag=True, help="Repair all.")
@MACHINE
def repair(path: str | None, numbers: tuple[int, ...], every: bool) -> None:
    """Repair faults by NUMBER, or take back such as wait."""
    if every == bool(numbers):
        raise UsageError("which: cordee fault repair NUMBER..., or --all")
    _say(faults.repair(_machine(path), None if every else numbers))


def _strike(path: str | None, *struck: faults.Fault) -> None:
    _say(faults.strike(_machine(path), *struck))


def _say(entries: list[faults.Entry]) -> None:
    for entry, line in zip(entries, words.lines(entries), strict=True):
        waits = entry.state == "waiting"
        print(f"{line} {words.trigger(entry.fault)}" if waits else line)


def _machine(path: str | None) -> str:
    """The machine that is meant, where one does not say which."""
    own = path or os.environ.get("CORDEE_MACHINE")
    if own:
        return own
    found = machine.find()
    if not found:
        raise UsageError("no virtual machine is running; `cordee run` starts one")
    if len(found) > 1:
        raise UsageError(f"several machines run; --machine with one of {', '.join(found)}")
    return found[0]
