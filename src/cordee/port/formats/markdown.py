"""The report as a comment under a pull request: counts, and the findings folded away."""

import re
from collections.abc import Iterator
from typing import IO

from cordee.port.assessment import Assessment
from cordee.port.engine import RULES
from cordee.port.finding import Finding
from cordee.port.hours import work_text
from cordee.port.summary import Count, Summary, summary
from cordee.port.unreadable import RULE

MOST = 200  # findings that are listed: such a comment may not be longer than 65536 characters
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")


def write(assessment: Assessment, file: IO[bytes]) -> None:
    """The report."""
    text = "\n".join(_lines(assessment)) + "\n"
    file.write(text.encode(errors="replace"))


def _lines(assessment: Assessment) -> Iterator[str]:
    counts = summary(assessment)
    total = counts.total
    ties = "tie" if total.findings == 1 else "ties"
    yield f"## {_plain(assessment.root)}: {total.findings:,} {ties} to NVIDIA"
    yield ""
    yield (
        f"{counts.files:,} files with {counts.lines:,} lines were read, aiming at torch "
        f"{assessment.torch}, {assessment.style}."
        + (f" {counts.suppressed:,} findings are silenced." if counts.suppressed else "")
    )
    if total.findings:
        yield from _table(counts)
        yield from _rules(total)
    yield from _problems(assessment)
    yield from _findings(assessment)


def _table(counts: Summary) -> Iterator[str]:
    yield ""
    yield "| in | ties | rewritten | run as is | left | work left |"
    yield "|---|" + "---:|" * 5
    for kind, count in counts.kinds.items():
        numbers = f"{count.findings} | {count.fixed} | {count.runs} | {count.left}"
        yield f"| {kind} | {numbers} | {work_text(count.work)} |"


def _rules(total: Count) -> Iterator[str]:
    yield ""
    yield "| rule | found | what |"
    yield "|---|---:|---|"
    for code, count in sorted(total.rules.items(), key=lambda item: (-item[1], item[0])):
        rule = RULES.get(code, RULE)
        yield f"| {code} | {count} | {_plain(rule.title)} |"


def _problems(assessment: Assessment) -> Iterator[str]:
    problems = [file.problem for file in assessment.problems]
    if problems:
        yield ""
        yield "Files that could not be read as what they are:"
        yield ""
        yield from (f"- {_plain(problem)}" for problem in problems)


def _findings(assessment: Assessment) -> Iterator[str]:
    found = list(assessment.findings)
    if not found:
        return
    yield ""
    yield "<details><summary>Findings</summary>"
    yield ""
    yield from (_finding(finding) for finding in found[:MOST])
    if len(found) > MOST:
        yield f"- and {len(found) - MOST:,} more"
    yield ""
    yield "</details>"


def _finding(finding: Finding) -> str:
    advice = f" To do: {_plain(finding.advice)}." if finding.advice else ""
    place = _plain(f"{finding.path}:{finding.line}")
    return f"- {place} **{finding.rule}** {_plain(finding.says)}.{advice}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is; what is between backticks stays code."""
    pieces = re.split(r"(`[^`|]+`)", " ".join(text.split()))
    return "".join(p if n % 2 else SPECIAL.sub(r"\\\1", p) for n, p in enumerate(pieces))
