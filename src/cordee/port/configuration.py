"""What a repository itself asks for: `.cordee.toml`, or `[tool.cordee]` in pyproject.toml."""

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.port.ignored import git_root
from cordee.port.setting import Style

BASELINE = ".cordee-baseline.json"
KINDS: dict[str, type] = {
    "exclude": list,
    "style": str,
    "torch": str,
    "ignore": list,
    "baseline": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The keys that may be set. Options of a command go before them."""

    exclude: tuple[str, ...] = ()
    """Patterns of paths to leave out, as in .gitignore."""
    style: Style | None = None
    torch: str = ""
    """The version of torch, and of torch_npu, that a port is to run on."""
    ignore: tuple[str, ...] = ()
    """Rules that are off, by their codes or the beginnings of them."""
    baseline: Path | None = None
    """Of the file of known findings, relative to the file that says so."""


def configuration(root: Path) -> Configuration:
    """That of `root`, or of the git repository around it. Raises `UsageError`."""
    top = git_root(root)
    folders = [root, *(f for f in root.parents if top is not None and f.is_relative_to(top))]
    for folder in folders:
        for name, tables in ((".cordee.toml", ()), ("pyproject.toml", ("tool", "cordee"))):
            found = _table(folder / name, tables)
            if found is not None:
                return _with_usual(folder, _checked(folder / name, found))
    return _with_usual(root, Configuration())


def _with_usual(folder: Path, found: Configuration) -> Configuration:
    """A baseline of the usual name need not be named."""
    usual = folder / BASELINE
    return replace(found, baseline=usual) if found.baseline is None and usual.exists() else found


def _table(path: Path, tables: tuple[str, ...]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found: Any = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        if tables:
            return None  # a pyproject.toml that is broken is a finding's business, not ours
        raise UsageError(f"{path}: {error}") from error
    for table in tables:
        found = found.get(table) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _checked(path: Path, found: dict[str, Any]) -> Configuration:
    for key, value in found.items():
        if key not in KINDS:
            known = ", ".join(field.name for field in fields(Configuration))
            raise UsageError(f"{path}: {key}: no such key; there are {known}")
        if not isinstance(value, KINDS[key]):
            kind = "a list of texts" if KINDS[key] is list else "a text"
            raise UsageError(f"{path}: {key} must be {kind}")
        if isinstance(value, list) and not all(isinstance(text, str) for text in value):
            raise UsageError(f"{path}: {key} must be a list of texts")
    style = found.get("style")
    if style is not None and style not in list(Style):
        raise UsageError(f"{path}: style must be one of {', '.join(Style)}, not {style}")
    return Configuration(
        exclude=tuple(found.get("exclude", ())),
        style=Style(style) if style else None,
        torch=found.get("torch", ""),
        ignore=tuple(found.get("ignore", ())),
        baseline=path.parent / found["baseline"] if found.get("baseline") else None,
    )
