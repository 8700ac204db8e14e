"""The commands of the virtual chip."""

import json
import sys
from dataclasses import asdict

import click

from cordee.core.errors import CordeeError
from cordee.emulator import build
from cordee.emulator.doctor import examine
from cordee.emulator.host import Host

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For a machine to read.")
def doctor(as_json: bool) -> None:
    """Say whether a virtual chip can run here. Exit 1 if something is in the way."""
    findings = list(examine(Host.here(runtime=None)))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            advice = f"\n           -> {finding.advice}" if finding.advice else ""
            print(f"{MARKS[finding.state]}  {finding.subject:<13} {finding.found}{advice}")
    sys.exit(1 if any(finding.state == "problem" for finding in findings) else 0)


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--chip", default="Ascend910B3", show_default=True, help="Kind of the chips.")
@click.option("--chips", default=1, show_default=True, help="How many the machine has.")
@click.option("--from-cuda", is_flag=True, help="COMMAND is written for CUDA: carry it over.")
@click.option("--virtual", is_flag=True, help="Stay virtual on a machine with real chips.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(chip: str, chips: int, from_cuda: bool, virtual: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND, and every Python process it starts, on a virtual Ascend machine.

    Exits with the code of COMMAND. Put `--` before it, as in `cordee run --chips 2 -- torchrun ...`.
    """
    from cordee.emulator.run import Request
    from cordee.emulator.run import run as carry_out

    request = Request(
        command=command, chip=chip, chips=chips, from_cuda=from_cuda, virtual=virtual
    )
    sys.exit(carry_out(request))
