"""A link that fails at a step, for programs that `cordee train` does not start: by what its own rehearsals use."""

import json
import os
import subprocess
import threading
from pathlib import Path

from cordee.train.worker.cut import Cut


def strike(worker: int, step: int) -> None:
    """The fault in the environment, where it is this worker's and this step's; the other end is found in the log."""
    text = os.environ.get("LINK_FAULT")
    if not text:
        return
    fault = json.loads(text)
    if (worker, step) != (fault["worker"], fault["step"]):
        return
    if "command" in fault:
        subprocess.run(fault["command"], shell=True, check=True)
        return
    made = Cut(_process(fault["other"]), frozenset(), fault.get("bytes_per_s", 0), float("inf"))
    made.strike()
    threading.Thread(target=made.last, daemon=True).start()  # connections that are opened later


def _process(worker: int) -> int:
    """That of a worker, as it told when it made a step."""
    lines = Path(os.environ["STEPS_LOG"]).read_text().splitlines()
    told = [json.loads(line) for line in lines]
    return int([line["pid"] for line in told if line.get("worker") == worker][-1])
