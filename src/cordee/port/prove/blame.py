"""From the traceback of a ported program back to what was found in the original."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cordee.port.finding import Finding
from cordee.port.prove.proof import Blame
from cordee.port.prove.traceback import last_traceback

FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def blames(
    output: str, ran: Path, before: Mapping[str, bytes], findings: Iterable[Finding]
) -> Iterator[Blame]:
    """The frames of the last traceback in `output` that lie in the program, innermost first.

    `ran` is the folder that the ported program ran in, `before` the files that the port changed.
    """
    said = list(findings)
    seen = set()
    for match in reversed(list(FRAME.finditer(last_traceback(output)))):
        path = Path(match[1])
        path = path if path.is_absolute() else ran / path
        if not path.is_relative_to(ran):
            continue
        relative = path.relative_to(ran).as_posix()
        new = _lines(path)
        old = before[relative].decode(errors="replace").splitlines() if relative in before else new
        line = _line_before(new, old, int(match[2]))
        if line is None or (relative, line) in seen:
            continue
        seen.add((relative, line))
        at_line = tuple(f for f in said if f.path == relative and f.line <= line <= f.end_line)
        yield Blame(relative, line, old[line - 1].strip(), at_line)


def _line_before(new: list[str], old: list[str], line: int) -> int | None:
    """The line of the old text that became line `line` of the new one."""
    for tag, old_start, old_end, new_start, new_end in difflib.SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if new_start < line <= new_end and tag in ("equal", "replace"):
            offset = line - 1 - new_start
            return min(old_start + offset, old_end - 1) + 1
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
