"""The report for a terminal: every finding in a line, then what it comes to."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.text import Text

from cordee.port import overview, summary, ties
from cordee.port.assessment import Assessment
from cordee.port.finding import Confidence, Finding

WIDTH = 100  # in a file
ALSO = 5  # further lines of a finding that are listed
MOST = 200  # findings that are listed on a terminal, where more would only scroll by


def write(assessment: Assessment, file: IO[bytes]) -> None:
    """The report without colours."""
    text = io.StringIO()
    show(assessment, Console(file=text, width=WIDTH, no_color=True))
    file.write(text.getvalue().encode(errors="surrogateescape"))


def show(assessment: Assessment, console: Console, path: Path | None = None) -> None:
    """The report on a console; what to do next is said of the `path` that was assessed."""
    files = ties.files(assessment, None)
    found = sum(len(file.ties) for file in files)
    folded = console.is_terminal and found > MOST
    for line in lines(assessment, folded):
        console.print(line, soft_wrap=True)
    if found and not folded:
        console.print()
    counts = summary.of_files(assessment, files)
    overview.show(counts, files, console)
    if path is not None and found:
        overview.commands(_next(path, counts, files, folded), console)


def _next(
    path: Path, counts: summary.Summary, files: Sequence[ties.File], folded: bool
) -> Iterator[tuple[str, str]]:
    if counts.total.fixed:
        if path.is_file():
            yield overview.command("port", path, "--diff"), "shows what would be rewritten"
        else:
            yield overview.command("port", path), "rewrites a copy, and leaves this as it is"
    if folded:
        yield f"{overview.command('assess', path)} | less", "lists every finding"
    if counts.total.left:
        page = overview.command("assess", path, "--format", "html", "--output", "cordee.html")
        yield page, "a page to filter and plan with"
    worst = overview.things(tie for file in files for tie in file.ties)
    if worst:
        yield overview.command("explain", worst[0].finding.rule), "says why, with examples"


def lines(assessment: Assessment, folded: bool = False) -> Iterator[Text]:
    """A line for each finding, unless `folded`, and for each file that could not be read."""
    for file in assessment.files:
        if file.problem:
            yield problem(file.problem)
        for finding in () if folded else file.findings:
            yield line(finding)


def problem(words: str) -> Text:
    """A line for a file that could not be read."""
    return Text.assemble(("problem: ", "bold red"), clean(words))


def line(finding: Finding) -> Text:
    """Where a finding is, and what it says."""
    place = f"{finding.path}:{finding.line}:{finding.column}: "
    unsure = " (unsure)" if finding.confidence is Confidence.UNSURE else ""
    says = overview.brief(finding.says)
    return Text.assemble(clean(place), (finding.rule, "bold"), f" {says}{unsure}{_also(finding)}")


def _also(finding: Finding) -> str:
    if not finding.also:
        return ""
    shown = ", ".join(str(line) for line in finding.also[:ALSO])
    more = f" and {len(finding.also) - ALSO} more" if len(finding.also) > ALSO else ""
    return f"; also on line {shown}{more}"


def clean(text: str) -> str:
    """Text without what would move a terminal's cursor, or cannot be written."""
    flat = " ".join(text.split())
    return "".join(c if c.isprintable() else "�" for c in flat) + (
        " " if text.endswith(" ") else ""
    )
