"""Programs that one starts, and that must not outlive who started them."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # Linux, prctl(2)
GRACE_S = 15.0
"""So long a program that is asked to end may take."""
_prctl = ctypes.CDLL(None).prctl


def end_with_parent() -> None:
    """From now on, in a process that was just forked: be killed when the thread that did it is gone."""
    parent = os.getppid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went in between
        os._exit(1)


def outlive_parent() -> None:
    """From now on: go on when who started this is gone, in spite of `end_with_parent`."""
    _prctl(PR_SET_PDEATHSIG, 0)


def adopting(yes: bool) -> None:
    """Whether processes below this one become its children when what started them is gone, rather than those of init."""
    _prctl(PR_SET_CHILD_SUBREAPER, int(yes))


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that leads a group and to all in it, as far as they still run."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def ended_how(code: int) -> str:
    """How a process ended, from its exit code, which is negative for a signal."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


class Program:
    """A program with all that it starts, which ends at the latest with the block that it is used in."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start it. `log` gets what it writes, and a file `.err` beside what it says of errors; `environment` is added to ours."""
        self.log = log
        self._errors = log.with_suffix(".err")
        with log.open("wb") as file, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; nothing while it runs."""
        return self._process.poll()

    @property
    def written(self) -> str:
        """What it has written so far."""
        return self.log.read_text("utf-8", "replace")

    def last_words(self, lines: int = 12) -> str:
        """The end of what it wrote, for a message."""
        said = self._errors.read_text("utf-8", "replace").strip() or self.written.strip()
        return "\n".join(f"  {line}" for line in said.splitlines()[-lines:])

    def stop(self) -> None:
        """Interrupt it, and kill what is left of it after a while."""
        try:
            if not self.ended:
                self._process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(GRACE_S)
        finally:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
