"""The code of a finding with the tie marked, and what its fix makes of it."""

from dataclasses import dataclass
from difflib import SequenceMatcher

from cordee.port.finding import Edit, Finding, Fix, apply

LONGEST_LINE = 300  # characters; a minified file has one line
MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Source lines, cut at the ends of the tie."""

    before: str
    tie: str
    after: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison: "-" was, "+" will be, " " stays, "@" is a remark."""

    sign: str
    text: str


def excerpt(finding: Finding) -> Excerpt:
    """What a reader is shown of a finding's lines."""
    start, end = _inside(finding)
    code = finding.code
    margin = _margin(code)
    before, tie, after = (
        f"\n{code[:start]}".replace(f"\n{margin}", "\n")[1:],
        code[start:end].replace(f"\n{margin}", "\n"),
        code[end:].replace(f"\n{margin}", "\n"),
    )
    if len(before) > LONGEST_LINE:
        before = f"…{before[-LONGEST_LINE // 2 :]}"
    if len(tie) > LONGEST_LINE * 10:
        tie = f"{tie[: LONGEST_LINE * 10]}…"
    if len(after) > LONGEST_LINE:
        after = f"{after[: LONGEST_LINE // 2]}…"
    return Excerpt(before, tie, after)


def comparison(finding: Finding) -> tuple[Line, ...]:
    """The finding's lines before and after its fix, and what the fix does elsewhere in the file."""
    if finding.fix is None:
        return ()
    here: list[Edit] = []
    elsewhere: list[Edit] = []
    first = finding.start - finding.column + 1
    gap = _line_end(finding) - 1  # characters of each line end that `code` has not
    for edit in finding.fix.edits:
        start, end = (_shifted(finding.code, at - first, gap) for at in (edit.start, edit.end))
        inside = 0 <= start <= end <= len(finding.code) + 1
        (here if inside else elsewhere).append(Edit(start, end, edit.text))
    lines: list[Line] = []
    if here:
        whole = f"{finding.code}\n"  # a fix may take away the line's end
        lines += _compared(whole, apply(whole, [Fix(tuple(here))]), _margin(finding.code))
    for edit in elsewhere:
        place = "above" if edit.start < 0 else "below"
        what = "adds" if edit.text.strip() else "takes text away"
        lines.append(Line("@", f"elsewhere in the file, {place}: {what}"))
        lines += [Line("+", text) for text in edit.text.strip("\r\n").splitlines()]
    return tuple(Line(line.sign, _short(line.text)) for line in lines[:MOST_LINES])


def _compared(old: str, new: str, margin: str) -> list[Line]:
    before, after = (
        [line.removeprefix(margin) for line in text.splitlines()] for text in (old, new)
    )
    lines: list[Line] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [Line(" ", text) for text in before[i1:i2]]
        else:
            lines += [Line("-", text) for text in before[i1:i2]]
            lines += [Line("+", text) for text in after[j1:j2]]
    return lines


def _margin(code: str) -> str:
    """The white space with which all lines of code begin."""
    lines = [line for line in code.split("\n") if line.strip()]
    margins = [line[: len(line) - len(line.lstrip(" \t"))] for line in lines]
    margin = min(margins, key=len, default="")
    while not all(other.startswith(margin) for other in margins):
        margin = margin[:-1]
    return margin


def _inside(finding: Finding) -> tuple[int, int]:
    """The tie's offsets in `code`."""
    *earlier, _ = finding.code.split("\n")
    end = sum(len(line) + 1 for line in earlier) + finding.end_column - 1
    return finding.column - 1, end


def _line_end(finding: Finding) -> int:
    """How many characters end a line of the file; `code` has one."""
    start, end = _inside(finding)
    ends = finding.code.count("\n")
    missing = (finding.end - finding.start) - (end - start)
    return 1 + missing // ends if ends else 1


def _shifted(code: str, at: int, gap: int) -> int:
    """An offset into the file's lines as one into `code`."""
    if gap == 0 or at <= 0:
        return at
    reached = 0
    for index, character in enumerate(code):
        if reached >= at:
            return index
        reached += 1 + (gap if character == "\n" else 0)
    return len(code) + at - reached


def _short(text: str) -> str:
    return text if len(text) <= 2 * LONGEST_LINE else f"{text[: 2 * LONGEST_LINE]}…"
