"""`cordee serve move`: begins a move on a running service and follows it to its end."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from cordee.core.errors import UsageError
from cordee.core.pages import save
from cordee.serve.asking import ADMINS_KEY, URL, asked


@click.command()
@click.option("--from", "old", required=True, help="The pool that has the traffic now.")
@click.option("--to", "new", required=True, help="The pool that is to have it.")
@URL
@ADMINS_KEY
@click.option("--samples", type=int, help="Requests and comparisons before a step is taken.")
@click.option("--agreement", type=float, help="The least share of answers that agree.")
@click.option("--ttft-factor", type=float, help="How much later first tokens may be; 2.")
@click.option("--tpot-factor", type=float, help="How much slower tokens may be; 2.")
@click.option("--shares", help="Steps of the new pool's share, as 0.01,0.1,0.5,1.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a page here."
)
def move(  # noqa: PLR0913 - one for each option
    old: str,
    new: str,
    url: str,
    key: str,
    samples: int | None,
    agreement: float | None,
    ttft_factor: float | None,
    tpot_factor: float | None,
    shares: str | None,
    report: Path | None,
) -> None:
    """Move live traffic between pools: compared, step by step, and back where a gate breaks.

    Virtual chips are slow: between them and real ones give wide factors for the times.

    Exit 0 when the new pool has all traffic, 1 when it was rolled back.
    """
    wish: dict[str, Any] = {"from": old, "to": new}
    given = {
        "samples": samples,
        "agreement": agreement,
        "ttft_factor": ttft_factor,
        "tpot_factor": tpot_factor,
    }
    wish |= {name: value for name, value in given.items() if value is not None}
    if shares:
        try:
            wish["shares"] = [float(share) for share in shares.split(",")]
        except ValueError as error:
            raise UsageError(f"--shares {shares}: is no list of numbers") from error
    begun = json.loads(_ask(url, "/cordee/move", key, json.dumps(wish).encode()))
    print(f"differences are kept in {begun['differences']}")
    state = _follow(url, key)
    if report is not None:
        save(_ask(url, "/cordee/move/report", key).decode(), report)
        print(f"the report is in {report}")
    sys.exit(0 if state["phase"] == "done" else 1)


def _follow(url: str, key: str) -> dict[str, Any]:
    """Tell each change until the move is over."""
    told = ""
    while True:
        state: dict[str, Any] = json.loads(_ask(url, "/cordee/status", key))["move"]
        line = f"{state['phase']} {state['share']:.0%}"
        if line != told:
            print(f"{line:16} {state['agreed']} of {state['compared']} answers agree", flush=True)
            told = line
        if state["phase"] in ("done", "rolled-back"):
            for gate in state["gates"]:
                if gate["holds"] is False:
                    print(f"broken: {gate['name']} is {gate['value']}, limit {gate['limit']:g}")
            return state
        time.sleep(0.3)


def _ask(url: str, path: str, key: str, body: bytes | None = None) -> bytes:
    with asked(url, path, key, body=body) as reply:
        return reply.read()
