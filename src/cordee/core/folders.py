"""Folders that a user names, made where they are not there."""

from pathlib import Path

from cordee.core.errors import UsageError


def made(folder: Path) -> Path:
    """The folder, with those that it is in. Raises `UsageError` where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}") from error
    return folder
