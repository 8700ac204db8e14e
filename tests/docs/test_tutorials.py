"""Does every command of the tutorials do what the tutorial says, in the order it says?"""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEGINS = "exec 2>&1; set -euo pipefail; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
ENDED = "==> block"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def blocks(page: Path) -> list[tuple[str, list[str]]]:
    """Each block of commands, and what its output has to show, line by line."""
    found: list[tuple[str, list[str]]] = []
    for kind, text in BLOCK.findall(page.read_text("utf-8")):
        if kind == "sh":
            found.append((text, []))
        else:
            found[-1][1].extend(line for line in text.splitlines() if line.strip("… "))
    return found


def shows(written: str, line: str) -> bool:
    """Whether a line stands in what was written, wherever that is broken; `…` stands for anything."""
    words = [re.escape(word).replace("…", ".*?") for word in line.split()]
    return re.search(r"\s+".join(words), written, re.DOTALL) is not None


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    told = blocks(page)
    assert told, f"{page.name} has no commands"
    script = f"\necho; echo '{ENDED}'\n".join([BEGINS, *(text for text, _ in told)])
    script = script.replace("8765", str(free_port()))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    written = done.stdout.split(ENDED)[1:]
    for (text, lines), output in zip(told, written, strict=True):
        for line in lines:
            assert shows(output, line), f"{line!r} is not what came of\n{text}\nbut\n{output}"
