"""What git says about a work tree: its revision, whether it is clean, which lines a change adds."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cordee.core.errors import UsageError

HUNK = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
ESCAPES = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}
DIFF = (
    "-c", "core.quotePath=false", "-c", "diff.suppressBlankEmpty=false",
    "diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--relative",
    "--find-renames", "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
EVERY_LINE = range(1, 2**62)


def revision(folder: Path) -> str:
    """The commit that is checked out, with a + where files differ from it; empty without git."""
    head = _git(folder, "rev-parse", "--short=12", "HEAD")
    if head is None:
        return ""
    return head.decode().strip() + ("+" if dirty(folder) else "")


def dirty(folder: Path) -> bool:
    """Whether something below `folder` is not committed. Without git, nothing is."""
    return bool((_git(folder, "status", "--porcelain", "--", ".") or b"").strip())


def tracked_but_ignored(folder: Path) -> list[str]:
    """Files that git keeps although it would ignore them; none without git."""
    found = _git(folder, "ls-files", "-z", "--cached", "--ignored", "--exclude-standard")
    return [os.fsdecode(path) for path in (found or b"").split(b"\0") if path]


def added(folder: Path, since: str) -> dict[str, list[range]]:
    """The lines that are new since a revision, by path relative to `folder`.

    What is not committed counts, and so do files that git does not know. Raises `UsageError`.
    """
    if _git(folder, "rev-parse", "--is-inside-work-tree") is None:
        raise UsageError(f"--since: {folder} is not in a git repository, or git is not installed")
    commit = _git(
        folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}"
    )
    if commit is None and since == "HEAD" and not _git(folder, "rev-list", "--all", "-n1"):
        commit = _git(folder, "hash-object", "-t", "tree", os.devnull)  # nothing is committed yet
    if commit is None:
        raise UsageError(f"--since {since}: no such revision in {folder}")
    changed = _git(folder, *DIFF, commit.decode().strip(), "--", ".")
    unknown = _git(folder, "ls-files", "-z", "--others", "--exclude-standard")
    if changed is None or unknown is None:
        raise UsageError(f"--since {since}: git cannot compare {folder} with it")
    lines = dict(_added(changed))
    for path in filter(None, unknown.split(b"\0")):
        lines[os.fsdecode(path)] = [EVERY_LINE]
    return lines


def _added(diff: bytes) -> Iterator[tuple[str, list[range]]]:
    path, lines, left = "", list[range](), 0
    for line in diff.split(b"\n"):
        hunk = HUNK.match(line)
        if left:
            left -= line[:1] in b"+-"
        elif hunk:
            start, count = int(hunk[1]), int(hunk[2] or 1)
            lines.append(range(start, start + count))
            left = count + _removed(line)
        elif line.startswith(b"+++ "):
            path, lines = _path(line[4:]), []
        if path and lines and not left:
            yield path, lines


def _removed(hunk: bytes) -> int:
    old = hunk.split(b" ")[1]
    return int(old.partition(b",")[2] or 1)


def _path(written: bytes) -> str:
    written = written.removesuffix(b"\t")
    if written.startswith(b'"'):
        written = ESCAPE.sub(_unescaped, written[1:-1])
    return os.fsdecode(written.removeprefix(b"b/"))


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8)]) if len(code) == 3 else ESCAPES.get(code, code)


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints; None if it fails, or is not installed."""
    environment = os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
