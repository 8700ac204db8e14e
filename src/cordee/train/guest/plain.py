"""Which scripts are plain DDP ones, and what a job of them cannot have."""

from collections.abc import Mapping
from pathlib import Path

from cordee.core.errors import UsageError

SIGNS = ("init_process_group", "DistributedDataParallel")


def is_plain(script: str) -> bool:
    """Whether a script is one for torchrun, by its text."""
    try:
        text = Path(script).read_text("utf-8", "replace")
    except OSError:
        return False
    return any(sign in text for sign in SIGNS) and "cordee" not in text


def fits(script: str, spares: int, mode: str | None) -> None:
    """Raises `UsageError` where a plain DDP script cannot have what is asked for."""
    if not is_plain(script):
        return
    if spares:
        raise UsageError(
            f"--spares {spares}: {script} is a plain DDP script, in which each process is a rank from "
            "its beginning; leave --spares out: another process is started when one is lost"
        )
    if mode not in {None, "fast"}:
        raise UsageError(
            f"--mode {mode}: {script} is a plain DDP script, and only one with ct.Training can do that"
        )


def ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """What torchrun would say."""
    given = {
        name: environment[f"CORDEE_TRAIN_{ours}"]
        for name, ours in (
            ("RANK", "RANK"),
            ("WORLD_SIZE", "WORKERS"),
            ("LOCAL_RANK", "LOCAL_RANK"),
            ("LOCAL_WORLD_SIZE", "LOCAL_WORKERS"),
        )
    }
    group = int(given["RANK"]) // int(given["LOCAL_WORLD_SIZE"])
    return given | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "GROUP_RANK": str(group)}
