"""Files and trees that are there whole, or not at all."""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.port.repository import OWN


def replace_file(path: Path, data: bytes) -> None:
    """Give a file new bytes in one step; it keeps its mode."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        beside.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def copy_tree(root: Path, out: Path, after: dict[str, bytes], extra: dict[str, bytes]) -> None:
    """Make `out` a copy of the tree at `root`, some files with other bytes, and some more.

    Modes and symbolic links are kept; what belongs to git or to an earlier port, and what is
    no file, is left out.
    Until all is there, it is in a folder beside `out`. Raises `UsageError`.
    """
    _refuse(root, out)
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UsageError(f"{out.parent}: {error.strerror}: nothing was written") from error
    try:
        tree = beside / "tree"
        shutil.copytree(root, tree, symlinks=True, ignore=_unwanted(root), copy_function=_copier(root, after))  # fmt: skip
        for path, data in extra.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        if out.exists():
            out.rmdir()  # it is empty
        tree.rename(out)
    except shutil.Error as error:
        source, _, why = error.args[0][0]
        raise UsageError(f"{source}: {why}: nothing was written") from error
    except OSError as error:
        where = error.filename or out
        raise UsageError(f"{where}: {error.strerror}: nothing was written") from error
    finally:
        _remove(beside)


def _refuse(root: Path, out: Path) -> None:
    real = out.resolve()
    if real == root or real.is_relative_to(root):
        raise UsageError(f"{out}: is inside of what is ported; name a folder beside it")
    if root.is_relative_to(real):
        raise UsageError(f"{out}: holds what is ported; name another folder")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out}: is there, and is no folder")
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty; remove it or name another folder with -o")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent}: no such folder")


def _unwanted(root: Path) -> Callable[[str, list[str]], set[str]]:
    def unwanted(folder: str, names: list[str]) -> set[str]:
        own = OWN if Path(folder) == root else frozenset[str]()
        return {
            name
            for name in names
            if name == ".git" or name in own or _is_special(Path(folder) / name)
        }

    return unwanted


def _is_special(path: Path) -> bool:
    """Whether a path is a socket, a pipe or a device."""
    mode = path.lstat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def _copier(root: Path, after: dict[str, bytes]) -> Callable[[str, str], object]:
    def copied(source: str, target: str) -> object:
        data = after.get(Path(source).relative_to(root).as_posix())
        if data is None or os.path.islink(source):
            return shutil.copy2(source, target, follow_symlinks=False)
        Path(target).write_bytes(data)
        shutil.copymode(source, target)
        return target

    return copied


def _remove(folder: Path) -> None:
    """Remove a tree, folders that may not be written to as well."""
    for inside, _, _ in os.walk(folder):
        os.chmod(inside, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
