"""The report for a terminal: every finding in a line, then the counts."""

import io
from collections.abc import Iterator, Mapping
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordee.port.assessment import Assessment
from cordee.port.finding import Confidence, Effort, Finding
from cordee.port.summary import TIME, Count, Summary, summary

WIDTH = 100  # in a file


def write(assessment: Assessment, file: IO[bytes]) -> None:
    """The report without colours."""
    text = io.StringIO()
    show(assessment, Console(file=text, width=WIDTH, no_color=True))
    file.write(text.getvalue().encode(errors="surrogateescape"))


def show(assessment: Assessment, console: Console) -> None:
    """The report on a console."""
    for line in lines(assessment):
        console.print(line, soft_wrap=True)
    counts = summary(assessment)
    if counts.total.findings:
        console.print()
        console.print(*tables(counts))
    console.print(Text(_looked_at(assessment)))


def lines(assessment: Assessment) -> Iterator[Text]:
    """A line for each finding, and for each file that could not be read."""
    for file in assessment.files:
        if file.problem:
            yield Text.assemble(("problem: ", "bold red"), clean(file.problem))
        for finding in file.findings:
            yield line(finding)


def line(finding: Finding) -> Text:
    """Where a finding is, and what it says."""
    place = f"{finding.path}:{finding.line}:{finding.column}: "
    unsure = " (unsure)" if finding.confidence is Confidence.UNSURE else ""
    return Text.assemble(clean(place), (finding.rule, "bold"), f" {clean(finding.says)}{unsure}")


def tables(counts: Summary) -> Iterator[Table]:
    """How much is left to do, by kind of file and by what it means on Ascend."""
    by_kind = _table("in", counts.kinds)
    if len(counts.kinds) > 1:
        by_kind.add_row("all", *_numbers(counts.total), style="bold")
    yield by_kind
    yield _table("on Ascend", {str(each): count for each, count in counts.meanings.items()})


def _table(title: str, rows: Mapping[str, Count]) -> Table:
    shown = Table()
    shown.add_column(title, no_wrap=True)
    for column in ("found", "rewritten", *(f"left: {TIME[e]}" for e in Effort)):
        shown.add_column(column, justify="right")
    for name, count in rows.items():
        shown.add_row(name, *_numbers(count))
    return shown


def _numbers(count: Count) -> Iterator[str]:
    for number in (count.findings, count.fixed, *(count.efforts[e] for e in Effort)):
        yield f"{number:,}" if number else ""


def _looked_at(assessment: Assessment) -> str:
    counts = summary(assessment)
    parts = [f"{counts.files:,} files with {counts.lines:,} lines", f"{counts.others:,} others"]
    if counts.suppressed:
        parts.append(f"{counts.suppressed:,} findings silenced")
    problems = sum(1 for _ in assessment.problems)
    if problems:
        parts.append(f"{problems:,} files with problems")
    found = (
        f"{counts.total.findings:,} ties to NVIDIA" if counts.total.findings else "No tie to NVIDIA"
    )
    return f"{found} in {', '.join(parts)}."


def clean(text: str) -> str:
    """Text without what would move a terminal's cursor, or cannot be written."""
    flat = " ".join(text.split())
    return "".join(c if c.isprintable() else "�" for c in flat) + (
        " " if text.endswith(" ") else ""
    )
