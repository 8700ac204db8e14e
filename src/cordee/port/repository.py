"""The files of a repository: each once, by its path, without what git ignores."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.port.ignored import Ignored, foreign, ignored_above, matching

# What a port leaves at the root of what it ported.
PATCH = "cordee-port.patch"
REPORT = "cordee-port"  # and an ending
OWN = frozenset({PATCH, f"{REPORT}.html", f"{REPORT}.md"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or where `problem` says so a folder that cannot be looked into."""

    path: str  # relative to the repository, with slashes
    size: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder of files, or one file of a folder."""

    root: Path
    only: str = ""  # the name of the one file
    exclude: tuple[str, ...] = ()  # patterns as in .gitignore

    @classmethod
    def at(cls, path: Path, exclude: tuple[str, ...] = ()) -> "Repository":
        """The repository that a user names. Raises `UsageError`."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or "a loop of symbolic links"
            raise UsageError(f"{path}: {why}") from error
        if real.is_dir():
            return cls(real, exclude=exclude)
        if real.is_file():
            return cls(real.parent, real.name)
        raise UsageError(f"{path}: neither a folder nor a file")

    def entries(self) -> list[Entry]:
        """Every file, sorted by path. Symbolic links are not followed: what they name has a path."""
        if self.only:
            return [Entry(self.only, (self.root / self.only).stat().st_size)]
        found = self._inside(self.root, "", ignored_above(self.root))
        return sorted(found, key=lambda entry: entry.path)

    def _inside(self, folder: Path, prefix: str, above: Ignored) -> Iterator[Entry]:
        """What is in a folder; a stack of its own, as folders may be nested deeper than calls."""
        unwanted = matching(self.root, self.exclude)
        waiting = [(folder, prefix, above)]
        while waiting:
            folder, prefix, above = waiting.pop()
            ignored = above.within(folder)
            try:
                with os.scandir(folder) as listing:
                    inside = list(listing)
            except OSError as error:
                yield Entry(prefix.removesuffix("/") or ".", 0, f"{error.strerror}")
                continue
            for item in inside:
                path, is_folder = folder / item.name, item.is_dir(follow_symlinks=False)
                if item.name == ".git":
                    continue
                if ignored.ignores(path, is_folder) or unwanted.ignores(path, is_folder):
                    continue
                if is_folder and not foreign(item):
                    waiting.append((path, f"{prefix}{item.name}/", ignored))
                elif not is_folder and (prefix or item.name not in OWN):
                    yield from _regular(item, f"{prefix}{item.name}")


def _regular(item: os.DirEntry[str], path: str) -> Iterator[Entry]:
    try:
        status = item.stat(follow_symlinks=False)
    except OSError as error:
        yield Entry(path, 0, f"{error.strerror}")
        return
    if stat.S_ISREG(status.st_mode):
        yield Entry(path, status.st_size)
