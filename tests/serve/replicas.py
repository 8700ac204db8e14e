"""Engines as processes, for tests that serve, kill and compare."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import openai


class Replica:
    """One engine that listens."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"

    def client(self, **options: object) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, **options)  # type: ignore[arg-type]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)


@contextmanager
def replica(
    model: Path, *arguments: str, module: str = "cordee.serve.engine", under: Sequence[str] = ()
) -> Iterator[Replica]:
    """An engine on a free port, ended with the block."""
    command = [*under, sys.executable, "-m", module, "--model", str(model), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the engine ended with {process.wait(10)}"
        yield Replica(process, json.loads(line)["ready"]["port"])
    finally:
        process.kill()
        process.wait(20)
        with suppress(OSError):
            process.stdout.close()  # type: ignore[union-attr]
