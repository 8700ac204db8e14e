"""Runs one command in a folder of its own, with a limit, and keeps what it said."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cordee.core.programs import signal_group
from cordee.port.prove.proof import Run
from cordee.port.prove.traceback import last_words

KEPT_CHARACTERS = 2_000_000
NOTICE = re.compile(r"^trace: .*\n?", re.MULTILINE)  # what `cordee run` says of itself


def execute(
    command: Sequence[str], folder: Path, where: str, limit_s: float, extra: Mapping[str, str]
) -> Run:
    """Run `command` in `folder`; its processes are ended when the limit is over."""
    log = folder.parent / f"{where}.log"
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=_environment(extra),
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
    output = NOTICE.sub("", log.read_text(errors="replace")[-KEPT_CHARACTERS:])
    words = "" if code == 0 else last_words(output)
    return Run(where, code, time.monotonic() - began, output, words)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """That of the user, in which `python` is the one that cordee runs in."""
    beside = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{beside}{os.pathsep}{path}", "PYTHONUNBUFFERED": "1", **extra}
