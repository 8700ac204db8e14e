"""The commands of the virtual chip."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from cordee import hw
from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON
from cordee.emulator import chips as virtual
from cordee.emulator.doctor import Finding, examine
from cordee.emulator.host import Host
from cordee.emulator.recording import Wanted
from cordee.emulator.run import USUAL_CHIP, Request
from cordee.emulator.run import run as carry_out
from cordee.emulator.trace import COMPARISONS

FILE = click.Path(dir_okay=False, path_type=Path)
MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


@click.command()
@AS_JSON
def doctor(as_json: bool) -> None:
    """Say whether a virtual chip can run here. Exit 1 if something is in the way."""
    findings = list(examine(Host.here()))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print("\n".join(map(_line, findings)))
    sys.exit(1 if any(finding.state == "problem" for finding in findings) else 0)


def _line(finding: Finding) -> str:
    advice = f"\n{'':9}-> {finding.advice}" if finding.advice else ""
    return f"{MARKS[finding.state]}  {finding.subject:<13} {finding.found}{advice}"


@click.command()
@click.option("--watch", is_flag=True, help="Show again every second, until interrupted.")
@click.option("--catalogue", is_flag=True, help="Show what chips and topologies there can be.")
@AS_JSON
def chips(watch: bool, catalogue: bool, as_json: bool) -> None:
    """Show the virtual chips that run now: health, memory, who uses it, and links."""
    console = Console()
    if watch and (as_json or catalogue or not console.is_terminal):
        raise UsageError("--watch needs a terminal, and neither --json nor --catalogue")
    if as_json and catalogue:
        parts = {"chips": hw.chips(), "topologies": hw.topologies()}
        print(json.dumps({name: [*map(asdict, part)] for name, part in parts.items()}, indent=2))
    elif as_json:
        print(json.dumps([*map(asdict, virtual.running())], indent=2))
    elif watch:
        virtual.watch(console)
    elif catalogue:
        console.print(virtual.catalogue(hw.chips()), virtual.topologies(hw.topologies()))
    else:
        console.print(virtual.tables(virtual.running()))


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--chip", help=f"Kind of the chips; {USUAL_CHIP}, or what the topology has.")
@click.option("--chips", default=1, show_default=True, help="How many the machine has.")
@click.option("--nodes", default=1, show_default=True, help="Over how many hosts they spread.")
@click.option("--topology", metavar="NAME|FILE", help="How the chips are linked.")
@click.option(
    "--pace", default=0.0, metavar="FACTOR", help="Slow links down to FACTOR x real time."
)
@click.option("--join", metavar="PATH", help="Use the machine that `cordee chips` shows there.")
@click.option("--node", type=int, help="Let COMMAND see the chips of one node only.")
@click.option("--from-cuda", is_flag=True, help="COMMAND is written for CUDA: carry it over.")
@click.option(
    "--virtual", "stay_virtual", is_flag=True, help="Stay virtual on a machine with real chips."
)
@click.option(
    "--shapes",
    is_flag=True,
    help="Leave out the arithmetic of products, whose results are zeros: for a trace of a large model.",
)
@click.option("--trace", type=FILE, help="Write every operator to FILE, as JSON Lines.")
@click.option("--report", type=FILE, help="Write a page about the run to FILE, as HTML.")
@click.option("--faults", type=FILE, help="Strike the machine as the schedule FILE says.")
@click.option("--perfetto", type=FILE, help="Write the run over time to FILE, for ui.perfetto.dev.")
@click.option(
    "--compare", type=click.Choice(COMPARISONS), help="Compare each operator with float32 there."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(  # noqa: PLR0913 - an argument is an option
    chip: str | None,
    chips: int,
    nodes: int,
    topology: str | None,
    pace: float,
    join: str | None,
    node: int | None,
    from_cuda: bool,
    stay_virtual: bool,
    shapes: bool,
    trace: Path | None,
    report: Path | None,
    faults: Path | None,
    perfetto: Path | None,
    compare: str | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND, and every Python process it starts, on a virtual Ascend machine.

    Exits with the code of COMMAND. Put `--` before it, as in `cordee run --chips 2 -- torchrun ...`.
    """
    request = Request(
        command=command,
        chip=chip,
        chips=chips,
        nodes=nodes,
        topology=topology,
        pace=pace,
        join=join,
        node=node,
        from_cuda=from_cuda,
        virtual=stay_virtual,
        shapes=shapes,
        wanted=Wanted(trace=trace, report=report, perfetto=perfetto, compare=compare),
        faults=faults,
    )
    ended = carry_out(request)
    for line in ended.left:
        print(line, file=sys.stderr)
    sys.exit(ended.exit_code)
