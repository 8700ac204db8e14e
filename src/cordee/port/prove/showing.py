"""A proof on a terminal."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from cordee.port.prove.proof import Proof

NAMES = {"chip": "virtual chip", "cpu": "CPU"}


def show(proof: Proof, console: Console) -> None:
    """Print what running the port has shown."""
    console.print(f"\n{proof.command}", style="bold")
    for run in (proof.chip, proof.cpu):
        if run is not None:
            console.print(f"  {NAMES[run.where]:<13} {run.ended}")
    for note in proof.notes:
        console.print(f"  {note}")
    if proof.losses or proof.tensors:
        console.print(_compared(proof))
    for line in _wanting(proof):
        console.print(line)
    for blame in proof.blames:
        console.print(f"  {blame.path}:{blame.line}: {blame.code}", markup=False)
        for finding in blame.findings:
            advice = f" -> {finding.advice}" if finding.advice else ""
            console.print(
                f"      was reported as {finding.rule}: {finding.says}{advice}", markup=False
            )
    console.print(proof.verdict, style="bold")


def _compared(proof: Proof) -> Table:
    table = Table("compared", "on the chip", "on the CPU", "difference", title_justify="left")
    for loss in proof.losses:
        last = (f"{side[-1]:.6g}" if side else "none" for side in (loss.chip, loss.cpu))
        steps = f"{loss.name}, {len(loss.chip)} values, the last:"
        table.add_row(steps, *last, _share(loss.difference, proof.tolerance))
    for file in proof.tensors:
        name = f"{file.path}, {file.tensors} tensors"
        found = file.problem or _share(file.difference, proof.tolerance)
        table.add_row(name, "", "", ", ".join((found, *(f"only one has {n}" for n in file.alone))))
    return table


def _share(difference: float, tolerance: float) -> str:
    return f"{difference:.1e} {'is within' if difference <= tolerance else 'is more than'} {tolerance:.0e}"


def _wanting(proof: Proof) -> Iterator[str]:
    if proof.operators:
        yield f"  {proof.operators:,} operators ran on the chip"
    for fallback in proof.fallbacks:
        places = ", ".join(fallback.sites)
        yield f"  {fallback.operator}: {fallback.support}, {fallback.calls:,} calls at {places}"
