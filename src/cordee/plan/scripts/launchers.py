"""How many processes torchrun, msrun or srun start, by their options."""

from collections.abc import Mapping
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.shell.started import Started
from cordee.plan.scripts.described import ANY_LENGTH
from cordee.plan.scripts.options import pairs


def processes(started: Started, at: int, path: Path) -> int:
    """As many as are started of a program that stands at `at`. Raises `UsageError` where that is not known."""
    launcher = dict(pairs([*started.within, *started.words[:at]], ANY_LENGTH))
    named = {name.replace("_", "-"): value for name, value in launcher.items()}
    counts = [named.get("--nproc-per-node", ""), named.get("--nnodes", "1")]
    if "--worker-num" in named:
        counts = [named["--worker-num"]]
    if "--nproc-per-node" not in named and "--worker-num" not in named:
        counts = _tasks(named) or counts
    if all(count.isdecimal() and len(count) < 8 for count in counts):
        total = 1
        for count in counts:
            total *= int(count)
        return total
    raise UsageError(
        f"{path}, line {started.line}: how many processes it starts is not known before it runs "
        f"({' x '.join(counts).strip(' x') or 'nothing says'}): give --chips"
    )


def _tasks(named: Mapping[str, str]) -> list[str]:
    """As many as srun starts; none where it does not say."""
    # Behind the last option stands the program.
    first = {name: value.split()[0] for name, value in named.items() if value}
    all_of_them = first.get("--ntasks") or first.get("-n")
    if all_of_them:
        return [all_of_them]
    each, nodes = first.get("--ntasks-per-node"), first.get("--nodes") or first.get("-N")
    return [each, nodes] if each and nodes else []
