"""Does a shell complete commands and options, as it would when somebody presses the tabulator?"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SCRIPT = """
eval "$(_CORDEE_COMPLETE=bash_source cordee)"
COMP_WORDS=({words})
COMP_CWORD={last}
"$(complete -p cordee | sed 's/.*-F \\([^ ]*\\).*/\\1/')" cordee
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(*words: str) -> list[str]:
    """What bash would offer for the last of these words, by the script that cordee gives it."""
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        ["bash", "-c", SCRIPT.format(words=quoted, last=len(words) - 1)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not (BIN / "cordee").exists(),
    reason="bash and an installed cordee are needed",
)


def test_commands_are_completed() -> None:
    assert completed("cordee", "pl") == ["plan"]
    assert {"assess", "plan", "serve", "train"} <= set(completed("cordee", ""))


def test_commands_of_a_group_are_completed() -> None:
    assert completed("cordee", "plan", "tr") == ["train"]


def test_options_are_completed() -> None:
    assert completed("cordee", "plan", "train", "--dead") == ["--deadline"]
