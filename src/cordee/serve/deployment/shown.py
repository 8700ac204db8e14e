"""A report as text for a terminal of 80 columns, and as JSON."""

import textwrap
from collections.abc import Iterator, Sequence

from cordee.serve.deployment.flags import release
from cordee.serve.deployment.judgement import Finding, Verdict
from cordee.serve.deployment.report import Report
from cordee.serve.deployment.written import written

WIDTH = 80
JUDGED = f"vllm-ascend {release(None).ascend}"
LEFT_OUT = ("left out", "leave it out")
"""Said already."""
TITLES = {
    Verdict.WORKS: "works",
    Verdict.OTHERWISE: "otherwise",
    Verdict.ABSENT: "not there",
    Verdict.UNKNOWN: "unknown",
    Verdict.MEANINGLESS: "no meaning",
    Verdict.UNCHECKED: "not checked",
}
ORDER = (Verdict.UNKNOWN, Verdict.ABSENT, Verdict.OTHERWISE, Verdict.UNCHECKED)
FRAGMENTS = {
    "dockerfile": "The lines for FROM, ENV, ENTRYPOINT and CMD",
}


def as_text(reports: Sequence[Report], file: str = "", *, everything: bool = False) -> str:
    """What must change first, then the new command of each server, or the whole new `file`."""
    parts = ["\n".join(_lines(report, everything)) for report in reports]
    if not file:
        return "\n".join(
            f"{part}\n\n{_new(report)}" for part, report in zip(parts, reports, strict=True)
        )
    return "\n\n\n".join(parts) + f"\n\nThe new file:\n\n{file}"


def _new(report: Report) -> str:
    title = "\n".join(_wrapped(_new_title(report) + ":", "", ""))
    return f"{title}\n\n{written(report)}"


def _lines(report: Report, everything: bool) -> Iterator[str]:
    decide = sorted(
        report.decisions, key=lambda f: ORDER.index(f.verdict) if f.verdict in ORDER else 9
    )
    changed = [f for f in report.findings if not f.decide and f.verdict is not Verdict.WORKS]
    works = [f for f in report.findings if f.verdict is Verdict.WORKS and not f.decide]
    yield from _wrapped(_head(report), "", "")
    yield f"{len(decide)} to decide, {len(changed)} changed, {len(works)} as they are"
    for title, findings in (("To decide", decide), ("Changed or left out", changed)):
        if findings:
            yield ""
            yield title
            for finding in findings:
                yield from _finding(finding, everything)
    if works:
        yield ""
        yield "Works as it is"
        if everything:
            for finding in works:
                yield from _finding(finding, everything)
        else:
            yield from _wrapped(", ".join(dict.fromkeys(_short(f) for f in works)), "  ", "  ")


def _head(report: Report) -> str:
    launch, target = report.launch, report.target
    where = launch.name or (f"line {launch.line}" if launch.line > 1 else "the command")
    on = f"{target.chip.soc_name} with vllm-ascend {target.release.ascend} (vLLM {target.release.vllm})"
    judged = "" if target.release == release(None) else f", judged by what {JUDGED} does"
    return f"{where} on {on}{judged}:"


def _new_title(report: Report) -> str:
    title = FRAGMENTS.get(report.launch.kind, "The new command")
    count = report.server.chips
    return f"{title}, for as many chips as it uses GPUs ({count})"


def _finding(finding: Finding, everything: bool) -> Iterator[str]:
    place = f" ({finding.place})" if finding.place else ""
    head = f"  {TITLES[finding.verdict]:<12}{finding.subject}{place}"
    yield from _wrapped(head.strip(), "  ", " " * 14)
    yield from _wrapped(finding.says, " " * 14, " " * 14)
    if finding.becomes:
        yield from _wrapped(f"=> {finding.becomes}", " " * 14, " " * 17)
    if finding.instead and (finding.becomes, finding.instead) != LEFT_OUT:
        yield from _wrapped(f"-> {finding.instead}", " " * 14, " " * 17)
    if everything and finding.source:
        yield from _wrapped(finding.source, " " * 14, " " * 14)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _short(finding: Finding) -> str:
    subject = finding.subject
    return subject if len(subject) <= 50 else subject.split()[0]


def as_json(report: Report, file: str = "") -> dict[str, object]:
    """A report for a machine to read."""
    return {
        "chip": report.target.chip.soc_name,
        "vllm": report.target.release.vllm,
        "vllm_ascend": report.target.release.ascend,
        "kind": report.launch.kind,
        "name": report.launch.name,
        "line": report.launch.line,
        "engine": report.launch.engine,
        "findings": [_as_row(finding) for finding in report.findings],
        "command": [word.text for part in report.server.words for word in part],
        "environment": {s.name: s.value.text for s in report.server.settings},
        "image": report.server.image,
        "chips": report.server.chips,
        "text": file or written(report),
    }


def _as_row(finding: Finding) -> dict[str, object]:
    return {
        "verdict": str(finding.verdict),
        "subject": finding.subject,
        "says": finding.says,
        "instead": finding.instead,
        "becomes": finding.becomes,
        "decide": finding.decide,
        "place": finding.place,
        "source": finding.source,
    }
