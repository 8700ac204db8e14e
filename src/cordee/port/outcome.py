"""What a port has done, for a terminal: files, what is left by effort, and where things are."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordee.port.finding import Effort, Meaning
from cordee.port.formats.text import clean, line
from cordee.port.porting import Ported
from cordee.port.repository import PATCH
from cordee.port.rewriting import Left
from cordee.port.summary import TIME


def show(ported: Ported, console: Console) -> None:
    """All of it."""
    for file in ported.assessment.problems:
        console.print(Text.assemble(("problem: ", "bold red"), clean(file.problem)), soft_wrap=True)
    for effort in Effort:
        found = [left for left in to_do(ported) if left.finding.effort is effort]
        if found:
            console.print(Text(f"left, {TIME[effort]} each:", "bold"))
        for left in found:
            console.print(_line(left), soft_wrap=True)
    if ported.changed:
        console.print(_table(ported))
    for text in _closing(ported):
        console.print(Text(text), soft_wrap=True)


def to_do(ported: Ported) -> list[Left]:
    """What a person has to see to: not what runs as it is."""
    return [left for left in ported.left if left.finding.meaning is not Meaning.RUNS or left.why]


def _line(left: Left) -> Text:
    why = left.why or left.finding.advice
    return Text("  ") + line(left.finding) + Text(f" -> {why}" if why else "", "dim")


def _table(ported: Ported) -> Table:
    table = Table(title="Ported files")
    table.add_column("file", overflow="fold")
    table.add_column("ties rewritten", justify="right")
    table.add_column("left", justify="right")
    counts = Counter(left.finding.path for left in to_do(ported))
    for file in ported.changed:
        left = counts[file.path]
        table.add_row(Text(clean(file.path)), str(len(file.made)), str(left or ""))
    for path in ported.new:
        table.add_row(Text(f"{clean(path)} (new)"), "", "")
    return table


def _closing(ported: Ported) -> Iterator[str]:
    left = to_do(ported)
    efforts = ", ".join(
        f"{count} of {TIME[effort]}"
        for effort in Effort
        if (count := sum(one.finding.effort is effort for one in left))
    )
    made, files = len(ported.made), len(ported.changed)
    ties = "tie" if made == 1 else "ties"
    yield f"{made:,} {ties} to NVIDIA rewritten in {files:,} {'file' if files == 1 else 'files'}."
    stay = "is" if len(left) == 1 else "are"
    yield f"{len(left):,} {stay} left: {efforts}." if left else "None is left."
    if ported.folder is None:
        return
    yield f"the port: {ported.folder}"
    if ported.patch:
        yield f"its patch: {ported.folder / PATCH}"
    if ported.report:
        yield f"its report: {ported.folder / ported.report}"
    if ported.patch:
        yield f"to undo it: cordee port --undo {ported.folder}"
