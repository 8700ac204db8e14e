"""Which files git would ignore, and which folders hold no work of the repository; git is not asked."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

NEVER = frozenset(
    [".git", ".hg", ".svn", ".bzr", ".jj", "__pycache__", "node_modules", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".eggs"]
)  # fmt: skip
MARK = "ps_d"  # the group by which pathspec tells that a folder above a path is matched
# What only the root of an environment holds, by venv and virtualenv, and by conda.
ENVIRONMENT = ("pyvenv.cfg", "conda-meta")


class Patterns:
    """The patterns of one file, and the folder they are relative to.

    A path is judged by itself, as git does on its way down: what an ignored folder holds is never
    asked about. So a pattern counts only where it matches the end of the path.
    """

    def __init__(self, folder: Path, lines: Iterable[str]) -> None:
        self.folder = folder
        self._patterns: list[tuple[re.Pattern[str], bool]] = [
            (pattern.regex, pattern.include)
            for pattern in GitIgnoreSpec.from_lines(lines).patterns
            if pattern.regex is not None and pattern.include is not None
        ]
        expressions = [regex.pattern.replace(f"?P<{MARK}>", "?:") for regex, _ in self._patterns]
        # Most paths match none: to ask for all at once is much faster.
        self._any = re.compile("|".join(expressions))

    def verdict(self, path: Path, is_folder: bool) -> bool | None:
        """Whether the patterns ignore `path`; None if none of them speaks of it."""
        text = path.relative_to(self.folder).as_posix() + ("/" if is_folder else "")
        if not self._patterns or self._any.search(text) is None:
            return None
        for regex, ignores in reversed(self._patterns):
            if any(_is_whole(match, text) for match in regex.finditer(text)):
                return ignores
        return None


def _is_whole(match: re.Match[str], text: str) -> bool:
    """Whether a pattern matches the path itself and not a folder that it is in."""
    return match.groupdict().get(MARK) is None or match.end() == len(text)


@dataclass(frozen=True, slots=True)
class Ignored:
    """The patterns that hold in one folder; the later ones decide."""

    patterns: tuple[Patterns, ...] = ()

    def within(self, folder: Path) -> "Ignored":
        """The same with the folder's own .gitignore."""
        found = _read(folder / ".gitignore", folder)
        return Ignored((*self.patterns, found)) if found is not None else self

    def ignores(self, path: Path, is_folder: bool) -> bool:
        """Whether git would not look at `path`, of which no parent is ignored."""
        for patterns in reversed(self.patterns):
            verdict = patterns.verdict(path, is_folder)
            if verdict is not None:
                return verdict
        return False


def ignored_above(root: Path) -> Ignored:
    """The patterns that a git repository around `root` has for what is inside of `root`."""
    top = git_root(root)
    if top is None:
        return Ignored()
    found = _read(_git_folder(top) / "info" / "exclude", top)
    ignored = Ignored((found,) if found is not None else ())
    between = [folder for folder in (root, *root.parents) if folder.is_relative_to(top)]
    for inside, folder in zip(reversed(between[:-1]), reversed(between[1:]), strict=True):
        ignored = ignored.within(folder)
        if ignored.ignores(inside, True):
            return Ignored()  # what git ignores, and is asked for by name, is looked at
    return ignored


def matching(root: Path, patterns: Iterable[str]) -> Ignored:
    """Patterns of the user's own, written as in a .gitignore at `root`."""
    return Ignored((Patterns(root, patterns),))


def git_root(folder: Path) -> Path | None:
    """The top of the git work tree that holds `folder`."""
    return next((f for f in (folder, *folder.parents) if (f / ".git").exists()), None)


def foreign(folder: os.DirEntry[str]) -> bool:
    """Whether a folder holds an environment, a cache or the history, and no work."""
    if folder.name in NEVER:
        return True
    return any(os.path.exists(os.path.join(folder.path, mark)) for mark in ENVIRONMENT)


def _git_folder(top: Path) -> Path:
    """Where git keeps the repository: .git, or where the .git of a linked work tree points to."""
    inside = top / ".git"
    try:
        if not inside.is_file():
            return inside
        inside = top / inside.read_text("utf-8").removeprefix("gitdir:").strip()
        return inside / (inside / "commondir").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return inside


def _read(path: Path, folder: Path) -> Patterns | None:
    try:
        lines = path.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    return Patterns(folder, lines) if lines else None
