"""Programs of `cordee serve` for a test: started, waited for until they listen, and ended with it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str]
) -> "Iterator[subprocess.Popen[str]]":
    """A program whose output is read; it is asked to end, and killed where it does not."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        process.stdout.close()


def port_told(process: "subprocess.Popen[str]") -> int:
    """Where an engine, or a gateway over some, listens: its first line of JSON says so; some of PyTorch's libraries talk before."""
    while not (line := _line(process)).startswith("{"):
        pass
    return int(json.loads(line)["ready"]["port"])


def address_told(process: "subprocess.Popen[str]") -> str:
    """Where a service listens, as it says among other things."""
    while not (found := re.search(r"listening on (\S+)/v1", _line(process))):
        pass
    return found[1]


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"it ended with {process.wait(10)}"
    return line
