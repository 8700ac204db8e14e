"""Engines as processes, for tests that serve, kill and compare."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import openai
from tests.serve.callers import Callers
from tests.serve.processes import port_told, started


class Replica:
    """One engine that listens."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"
        self.callers = Callers(self.url)

    def client(self, **options: object) -> openai.OpenAI:
        return self.callers.new(**options)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)


@contextmanager
def replica(
    model: Path, *arguments: str, module: str = "cordee.serve.replica", under: Sequence[str] = ()
) -> Iterator[Replica]:
    """An engine on a free port, ended with the block."""
    command = [*under, sys.executable, "-m", module, "--model", str(model), *arguments]
    with started(command, {"OMP_NUM_THREADS": "1"}) as process:
        try:
            made = Replica(process, port_told(process))
            yield made
            made.callers.close()
        finally:
            process.kill()
