"""A proof on a terminal."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from cordee.core.tables import table
from cordee.port.prove.proof import Proof

NAMES = {"chip": "virtual chip", "cpu": "CPU"}
LAST_LINES = 8
SUPPORT = {
    "host": "a chip has no kernel for it, and it runs on the host",
    "missing": "neither a chip nor the host has a kernel for it",
    "not emulated": "a chip has it, the virtual one does not",
}


def show(proof: Proof, console: Console) -> None:
    """Print what running the port has shown."""
    console.print(f"\n{proof.command}", style="bold")
    for run in (proof.chip, proof.cpu):
        if run is not None:
            console.print(f"  {NAMES[run.where]:<13} {run.ended}")
    for note in proof.notes:
        console.print(f"  {note}")
    for run in (proof.chip, proof.cpu):
        if run is not None and not run.succeeded:
            console.print(f"  the last lines on the {NAMES[run.where]}:")
            for text in run.output.rstrip().splitlines()[-LAST_LINES:]:
                console.print(f"    {text}", markup=False, style="dim")
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
    made = table((), (), ("compared", "on the chip", "on the CPU", "difference"))
    for loss in proof.losses:
        last = (f"{side[-1]:.6g}" if side else "none" for side in (loss.chip, loss.cpu))
        steps = f"{loss.name}, {len(loss.chip)} values, the last:"
        made.add_row(steps, *last, _share(loss.difference, proof.tolerance))
    for file in proof.tensors:
        name = f"{file.path}, {file.tensors} tensors"
        found = file.problem or (
            _share(file.difference, proof.tolerance) if file.tensors else "nothing to compare"
        )
        made.add_row(name, "", "", ", ".join((found, *(f"only one has {n}" for n in file.alone))))
    return made


def _share(difference: float, tolerance: float) -> str:
    return f"{difference:.1e} {'is within' if difference <= tolerance else 'is more than'} {tolerance:.0e}"


def _wanting(proof: Proof) -> Iterator[str]:
    if proof.lines is not None:
        same, lines = proof.lines.same, proof.lines.lines
        yield f"  {same:,} of {lines:,} lines that it printed are the same on both, numbers aside"
    if proof.operators:
        yield f"  {proof.operators:,} operators ran on the chip"
    for fallback in proof.fallbacks:
        where = f" at {', '.join(fallback.sites)}" if fallback.sites else ""
        calls = "1 call" if fallback.calls == 1 else f"{fallback.calls:,} calls"
        yield f"  {fallback.operator}: {SUPPORT.get(fallback.support, fallback.support)}, {calls}{where}"
