"""Small repositories, and the command as a user runs it, for the tests of this folder."""

import os
import subprocess
import sys
from pathlib import Path

CUDA = 'import torch\n\nmodel = torch.nn.Linear(2, 2)\nmodel.to("cuda")\ntorch.cuda.synchronize()\n'
PLAIN = "def double(x):\n    return 2 * x\n"


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write these files below `root`, which is made."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    root.mkdir(exist_ok=True)
    return root


def git(root: Path, *arguments: str) -> str:
    """Run git there, as somebody."""
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def committed(root: Path) -> Path:
    """Make a git repository of what is there."""
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--message=first")
    return root


def contents(root: Path) -> dict[str, bytes | str]:
    """Every file below `root` but git's and a port's own; of a symbolic link, where it leads."""
    return {
        path.relative_to(root).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if (path.is_symlink() or path.is_file())
        and ".git" not in path.relative_to(root).parts
        and not path.name.startswith("cordee-port.")
    }


def cordee(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    command = [sys.executable, "-m", "cordee", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, check=False, cwd=cwd, env=environment)
