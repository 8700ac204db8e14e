"""What the page's script is told, as JSON inside the page."""

import json
from collections.abc import Sequence

from markupsafe import Markup

from cordee.port.hours import work_text
from cordee.port.report.brought import anchor
from cordee.port.report.excerpt import comparison, excerpt
from cordee.port.report.families import rule_named
from cordee.port.report.sources import link
from cordee.port.ties import File, Tie


class _Texts:
    """Texts that many findings share, kept once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def records(files: Sequence[File]) -> Markup:
    """The files that have ties, most work first, as text for a script element."""
    texts = _Texts()
    ordered = sorted(files, key=lambda file: (-file.work.middle_h, file.judged.path))
    listed = [_file(file, texts) for file in ordered if file.ties]
    codes = {tie.finding.rule for file in files for tie in file.ties}
    data = {
        "files": listed,
        "rules": {code: rule_named(code).title for code in sorted(codes)},
        "families": {code: rule_named(code).family for code in sorted(codes)},
        "texts": list(texts.numbers),
    }
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # In a script element only "</script" and "<!--" mean something; no "<" leaves neither.
    return Markup(written.replace("<", "\\u003c"))


def _file(file: File, texts: _Texts) -> dict[str, object]:
    return {
        "path": file.judged.path,
        "kind": file.judged.kind,
        "work": work_text(file.work),
        "ties": [_tie(tie, texts) for tie in file.ties],
    }


def _tie(tie: Tie, texts: _Texts) -> dict[str, object]:
    finding = tie.finding
    source = link(finding.source)
    shown = excerpt(finding)
    record: dict[str, object] = {
        "rule": finding.rule,
        "line": finding.line,
        "column": finding.column,
        "code": [shown.before, shown.tie, shown.after],
        "says": texts.number(finding.says),
        "meaning": texts.number(finding.meaning),
        "effort": finding.effort,
        "confidence": texts.number(finding.confidence),
        "state": texts.number(tie.state),
    }
    if finding.also:
        record["also"] = finding.also
    if tie.is_left:
        record["left"] = 1
    if tie.is_blocker:
        record["blocker"] = 1
    for name, text in (
        ("advice", finding.advice),
        ("reason", tie.reason),
        ("source", source.words),
        ("address", source.address),
    ):
        if text:
            record[name] = texts.number(text)
    if finding.fix is not None and finding.fix.files:
        record["files"] = [
            [texts.number(file.path), anchor(file.path)] for file in finding.fix.files
        ]
    if finding.fix is not None:
        record["diff"] = [line.sign + line.text for line in comparison(finding)]
    return record
