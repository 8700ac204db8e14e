"""A patch that `git apply` takes, byte for byte, and that can be taken back without git.

Before the first file stand the digests of every file before and after, which git passes over.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cordee.core.errors import UsageError

TITLE = b"A port by cordee. `git apply` reads it, and `cordee port --undo` takes it back."
DIGESTS = re.compile(rb"cordee-file: ([0-9a-f]{64}|-) ([0-9a-f]{64}) (.*)")
HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
LINE = re.compile(rb"[^\n]*\n|[^\n]+")
PLAIN = re.compile(rb"[^\x00-\x1f\x7f\"\\]*")
ESCAPED = re.compile(rb"\\([0-7]{3})")
UNENDED = b"\\ No newline at end of file\n"
ABSENT = b"-"


@dataclass(frozen=True, slots=True)
class Change:
    """A file before, or None where it is new, and after."""

    path: str
    before: bytes | None
    after: bytes


@dataclass(frozen=True, slots=True)
class Undoing:
    """What a patch says of one file: the digests, and the hunks."""

    path: str
    before: bytes  # the digest, or `ABSENT`
    after: bytes
    hunks: tuple[bytes, ...]  # its lines

    def undone(self, now: bytes) -> bytes | None:
        """The bytes before, from those after; None where the file was new. Raises `UsageError`."""
        if digest(now) != self.after:
            raise UsageError(f"{self.path}: has changed since it was ported: nothing was undone")
        if self.before == ABSENT:
            return None
        old = b"".join(_reversed(LINE.findall(now), self.hunks))
        if digest(old) != self.before:
            raise UsageError(f"{self.path}: the patch does not fit: nothing was undone")
        return old


def patch(changes: list[Change]) -> bytes:
    """The text of a patch."""
    digests = [
        b"cordee-file: %s %s %s\n"
        % (digest(c.before) if c.before is not None else ABSENT, digest(c.after), _quoted(c.path))
        for c in changes
    ]
    return b"".join([TITLE, b"\n", *digests, b"\n", *map(difference, changes)])


def difference(change: Change) -> bytes:
    """What git would show for one file."""
    old, new = _name(b"a/", change.path), _name(b"b/", change.path)
    head = b"diff --git %s %s\n" % (old, new)
    if change.before is None:
        head += b"new file mode 100644\n"
    origin = b"/dev/null" if change.before is None else _with_tab(old)
    before, after = LINE.findall(change.before or b""), LINE.findall(change.after)
    lines = difflib.diff_bytes(difflib.unified_diff, before, after, origin, _with_tab(new))
    body = (line if line.endswith(b"\n") else line + b"\n" + UNENDED for line in lines)
    return head + b"".join(body)


def read(data: bytes) -> list[Undoing]:
    """What a patch of ours says. Raises `UsageError`."""
    head, _, body = data.partition(b"\n\n")
    if not head.startswith(TITLE):
        raise UsageError("this is not a patch of cordee's: only those can be undone")
    hunks = dict(_files(body))
    found = []
    for line in head.split(b"\n")[1:]:
        match = DIGESTS.fullmatch(line)
        if match is None or match[3] not in hunks:
            raise UsageError(f"the patch is damaged: {line.decode(errors='replace')}")
        found.append(Undoing(_unquoted(match[3]), match[1], match[2], hunks[match[3]]))
    return found


def digest(data: bytes) -> bytes:
    """What a file is told by."""
    return hashlib.sha256(data).hexdigest().encode()


def _files(body: bytes) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    """The hunks of each file, by its name as the head of the patch writes it."""
    name, hunks, left = b"", list[bytes](), (0, 0)
    for line in [*LINE.findall(body), b"diff --git"]:
        if left == (0, 0) and line.startswith(b"diff --git"):
            if name:
                yield name, tuple(hunks)
            name, hunks = b"", []
        elif left == (0, 0) and line.startswith(b"+++ "):
            written = line[4:].rstrip(b"\n").removesuffix(b"\t")
            quoted = written.startswith(b'"')
            name = b'"' + written[3:] if quoted else written[2:]
        elif name:
            hunks.append(line)
            left = _still_to_come(line, left)


def _still_to_come(line: bytes, left: tuple[int, int]) -> tuple[int, int]:
    """How many old and new lines of a hunk follow."""
    match = HUNK.match(line) if left == (0, 0) else None
    if match is not None:
        return int(match[2] or 1), int(match[4] or 1)
    kind = line[:1]
    return left[0] - (kind in b" -"), left[1] - (kind in b" +")


def _reversed(lines: list[bytes], hunks: tuple[bytes, ...]) -> Iterator[bytes]:
    """The old lines, from the new ones and the hunks."""
    at = 0
    for number, line in enumerate(hunks):
        match = HUNK.match(line) if line.startswith(b"@@") else None
        if match is not None:
            count = int(match[4] or 1)
            start = int(match[3]) - (1 if count else 0)
            yield from lines[at:start]
            at = start
        elif line[:1] == b"-":
            unended = number + 1 < len(hunks) and hunks[number + 1] == UNENDED
            yield line[1:].removesuffix(b"\n") if unended else line[1:]
        elif line[:1] == b" ":
            yield lines[at]
            at += 1
        elif line[:1] == b"+":
            at += 1
    yield from lines[at:]


def _name(side: bytes, path: str) -> bytes:
    written = _quoted(path)
    return b'"' + side + written[1:] if written.startswith(b'"') else side + written


def _with_tab(name: bytes) -> bytes:
    """A name with spaces ends with a tab, so that git sees where it ends."""
    return name + b"\t" if b" " in name and not name.startswith(b'"') else name


def _quoted(path: str) -> bytes:
    data = os.fsencode(path)
    if PLAIN.fullmatch(data):
        return data
    return b'"' + b"".join(_escaped(byte) for byte in data) + b'"'


def _escaped(byte: int) -> bytes:
    return bytes([byte]) if PLAIN.fullmatch(bytes([byte])) else b"\\%03o" % byte


def _unquoted(written: bytes) -> str:
    if written.startswith(b'"'):
        written = ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), written[1:-1])
    return os.fsdecode(written)
