"""What people have solved before, when they go through a repository file by file."""

from cordee.port.engine import RULES
from cordee.port.finding import Finding
from cordee.port.hours import Known


class Solved:
    """The ties gone through so far."""

    def __init__(self) -> None:
        self._ways: set[tuple[str, str]] = set()
        self._kinds: set[tuple[str, str]] = set()  # each with the file

    def known(self, finding: Finding) -> Known:
        """What is known of a tie; from now on it is solved."""
        way, kind = _way(finding), (finding.path, finding.rule)
        found = Known.NOTHING
        if way is not None and way in self._ways:
            found = Known.WAY
        elif kind in self._kinds:
            found = Known.KIND
        self._kinds.add(kind)
        if way is not None:
            self._ways.add(way)
        return found


def _way(finding: Finding) -> tuple[str, str] | None:
    """What the way over is known by: of a library its advice, and else what is said of the tie."""
    rule = RULES.get(finding.rule)
    if rule is not None and rule.each:
        return None
    if rule is not None and rule.shared and finding.advice:
        return rule.family, finding.advice
    return finding.rule, finding.says
