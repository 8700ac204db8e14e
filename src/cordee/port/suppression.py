"""Comments by which people say that a finding is known: `# cordee: ignore[NV101]`."""

import re
from collections.abc import Iterable

from cordee.port.finding import Finding

COMMENT = re.compile(
    r"(?:#|//|<!--|--|;|%)\s*cordee:\s*(ignore-file|ignore)(?![\w-])(?:\s*\[([^\]\r\n]*)\])?"
)


class Suppressions:
    """The comments of one file. A code may be the beginning of one: NV1 is NV101 to NV199."""

    def __init__(self, text: str) -> None:
        self._whole: list[str] = []
        self._lines: dict[int, list[str]] = {}
        for match in COMMENT.finditer(text) if "cordee:" in text else ():
            codes = [code.strip() for code in match[2].split(",")] if match[2] else [""]
            if match[1] == "ignore-file":
                self._whole += codes
            else:
                line = len(re.findall(r"\r\n|\n|\r", text[: match.start()])) + 1
                self._lines.setdefault(line, []).extend(codes)

    def silence(self, finding: Finding) -> bool:
        """Whether a comment stands in the first or last line of a finding, or is for the file."""
        codes = self._whole + self._lines.get(finding.line, [])
        return chosen(finding.rule, codes + self._lines.get(finding.end_line, []))


def chosen(rule: str, codes: Iterable[str]) -> bool:
    """Whether a rule is among codes, or begins with one."""
    return any(rule.startswith(code) for code in codes)
