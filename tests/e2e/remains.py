"""What runs leave on the computer."""

import os
import tempfile
from pathlib import Path


def left_behind() -> set[str]:
    """Memory files of the emulator that processes hold, and files that runs may leave."""
    held = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("/memfd:cordee"):
            held.add(f"{link.parts[2]} {target}")
    return held | {*os.listdir("/dev/shm"), *os.listdir(tempfile.gettempdir())}


def of_this_test(left: set[str], folder: Path) -> set[str]:
    """What is left of processes whose command line names the folder: others may run meanwhile."""
    found = set()
    for entry in left:
        pid = entry.partition(" ")[0]
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text() if pid.isdigit() else ""
        except OSError:
            continue
        if str(folder) in command:
            found.add(entry)
    return found
