"""Judges one file: every rule, every node, every part of another kind inside it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from cordee.port.finding import Confidence, Edit, Finding, Meaning, Safety
from cordee.port.places import heard
from cordee.port.python.file import Span
from cordee.port.rule import Document, Match, Part, Rule
from cordee.port.rules import FAMILIES
from cordee.port.source import Source

Failed = Callable[[Rule, object, Exception], None]
# A call of what a program itself names after CUDA: there is a reason for the name.
OF_CUDA = re.compile(r"\b(?:\w+_)?cuda(?:_\w+)?(?<!\.cuda)\(|\b\w*C(?:uda|UDA)\w*\(")
RULES = {rule.code: rule for family in FAMILIES for rule in family.rules}


def concerns(text: str, kind: str = "") -> bool:
    """Whether any rule may apply to a file with this text; nearly free, more so with its kind."""
    lower = text.lower()  # and a search for each word is several times faster than one expression
    return any(hint in lower for hint in _hints(kind))


def findings(document: Document, failed: Failed | None = None) -> list[Finding]:
    """All ties to NVIDIA in one file, in the order of its text.

    A rule that raises ends all of it, or is told to `failed`, and the others go on.
    """
    place = _Place(document.source, document.kind)
    matches = list(_matches(document, failed))
    found = [place.finding(rule, match) for rule, match in matches]
    found = _closed(found, [match.opens for _, match in matches], document.source)
    for part in document.parts():
        found += [place.moved(finding, part) for finding in findings(part.document, failed)]
    return heard(found, RULES, document.source.text)


def _matches(document: Document, failed: Failed | None) -> Iterator[tuple[Rule, Match]]:
    text = document.source.text.lower()
    families = [
        family
        for family in FAMILIES
        if document.kind not in family.skips and any(hint in text for hint in family.hints)
    ]
    by_type: dict[type, list[Rule]] = {}
    for node in document.nodes() if families else ():
        kind = type(node)
        if kind not in by_type:
            every = (rule for family in families for rule in family.rules)
            by_type[kind] = [rule for rule in every if issubclass(kind, rule.nodes)]
        for rule in by_type[kind]:
            try:
                for match in rule.check(node, document):
                    yield rule, match
            except Exception as error:  # one rule's mistake must not hide what others found
                if failed is None:
                    raise
                failed(rule, node, error)


def _closed(found: list[Finding], opens: list[tuple[Span, ...]], source: Source) -> list[Finding]:
    """A condition is not surely rewritten if it opens, on an NPU, code that is still CUDA's."""
    stuck = [
        finding
        for finding, spans in zip(found, opens, strict=True)
        if not spans and _breaks(finding, source)
    ]
    return [
        replace(finding, fix=replace(finding.fix, safety=Safety.UNSAFE))
        if finding.fix and any(_holds_cuda(span, stuck, source) for span in spans)
        else finding
        for finding, spans in zip(found, opens, strict=True)
    ]


def _holds_cuda(span: Span, stuck: list[Finding], source: Source) -> bool:
    if any(span.start <= finding.start < span.end for finding in stuck):
        return True
    return OF_CUDA.search(source.text, span.start, span.end) is not None


def _breaks(finding: Finding, source: Source) -> bool:
    """Whether what was found would fail on an NPU, and stays as it is."""
    if finding.fix is not None and finding.fix.safety is Safety.SAFE:
        return False
    if finding.meaning is Meaning.RUNS or finding.confidence is Confidence.UNSURE:
        return False
    text = source.text[finding.start : finding.end]
    return finding.meaning is Meaning.MISSING or "cuda" in text


class _Place:
    """Turns what rules saw in one file into findings with lines and columns."""

    def __init__(self, source: Source, kind: str) -> None:
        self.source, self.kind = source, kind

    def finding(self, rule: Rule, match: Match) -> Finding:
        return self._placed(
            match.span,
            rule=rule.code,
            kind=self.kind,
            says=match.says,
            meaning=match.meaning or rule.meaning,
            advice=match.advice or rule.advice,
            effort=match.effort or rule.effort,
            confidence=match.confidence,
            source=match.source or rule.source,
            fix=match.fix,
            also=self._others([span.start for span in match.also], match.span.start),
        )

    def moved(self, finding: Finding, part: Part) -> Finding:
        """A finding inside of `part` as one of the file that holds it."""
        at, starts = part.offsets, part.document.source.line_starts
        fix = finding.fix and replace(
            finding.fix,
            edits=tuple(
                Edit(at[e.start], at[e.end], part.escaped(e.text)) for e in finding.fix.edits
            ),
        )
        return self._placed(
            Span(at[finding.start], at[finding.end]),
            rule=finding.rule,
            kind=self.kind,
            says=finding.says,
            meaning=finding.meaning,
            advice=finding.advice,
            effort=finding.effort,
            confidence=finding.confidence,
            source=finding.source,
            fix=fix,
            also=self._others([at[starts[line - 1]] for line in finding.also], at[finding.start]),
        )

    def _others(self, offsets: list[int], first: int) -> tuple[int, ...]:
        """The lines of offsets without that of the first."""
        lines = {self.source.position(offset)[0] for offset in offsets}
        return tuple(sorted(lines - {self.source.position(first)[0]}))

    def _placed(self, span: Span, **words: object) -> Finding:
        line, column = self.source.position(span.start)
        end_line, end_column = self.source.position(span.end)
        code = "\n".join(self.source.line(n) for n in range(line, end_line + 1))
        return Finding(
            path=self.source.path,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            start=span.start,
            end=span.end,
            code=code,
            **words,  # type: ignore[arg-type]
        )


@cache
def _hints(kind: str) -> tuple[str, ...]:
    """Words that the others begin or end with are asked for only once."""
    of_kind = {hint for family in FAMILIES if kind not in family.skips for hint in family.hints}
    every = sorted(of_kind, key=len)
    return tuple(h for i, h in enumerate(every) if not any(s in h for s in every[:i]))
