"""One place, one finding: what is said of a file without what a more telling finding says."""

import re
from dataclasses import replace

from cordee.port.finding import Confidence, Finding, Fix, Safety
from cordee.port.rule import Rule

# What may stand between a name that is called and the end of a call or text that it is the last part of.
CLOSES = re.compile(r"""\(\)[)}\]"']+""")


def heard(found: list[Finding], rules: dict[str, Rule], text: str) -> list[Finding]:
    """The findings of one file, in the order of its text."""
    spoken: set[int] = set()
    for finding in found:
        if not rules[finding.rule].last:
            spoken.update(range(finding.line, finding.end_line + 1))
    kept = [f for f in found if not rules[f.rule].last or f.line not in spoken]
    return _nested(sorted(kept, key=_order), text)


def _order(finding: Finding) -> tuple[int, int, bool, str]:
    """By place, what holds others before them; of the same place the surest first."""
    return (finding.start, -finding.end, _is_guess(finding), finding.rule)


def _nested(found: list[Finding], text: str) -> list[Finding]:
    """Without findings inside of others that speak of the same."""
    lines: dict[int, list[Finding]] = {}
    for finding in found:
        kept = lines.setdefault(finding.line, [])
        for n, outer in enumerate(kept):
            joined = _joined(outer, finding, text) if _holds(outer, finding) else None
            if joined is not None:
                kept[n] = joined
                break
        else:
            kept.append(finding)
    every = (finding for kept in lines.values() for finding in kept)
    return sorted(every, key=lambda finding: (finding.start, finding.end, finding.rule))


def _holds(outer: Finding, inner: Finding) -> bool:
    """Of two that begin on one line: what is further down in a function is a place of its own."""
    return outer.start <= inner.start and inner.end <= outer.end


def _joined(outer: Finding, inner: Finding, text: str) -> Finding | None:
    """The outer finding if it says the inner too; None if the inner says more."""
    if _is_guess(inner) and outer.fix is None:
        return outer
    one, other = outer.fix, inner.fix
    if one is None or other is None or not CLOSES.fullmatch(text, inner.end, outer.end):
        return None
    if one.safety is not Safety.SAFE or other.safety is not Safety.SAFE:
        return None
    # `x.cuda(torch.cuda.current_device())`: its argument is a part of what is rewritten.
    edits = tuple(dict.fromkeys((*one.edits, *other.edits)))
    return replace(outer, fix=Fix(edits, Safety.SAFE, one.files + other.files))


def _is_guess(finding: Finding) -> bool:
    return finding.confidence is Confidence.UNSURE and finding.fix is None
