"""Who may import whom, and what a laptop without PyTorch can still do."""

import subprocess
import sys
import tomllib
from pathlib import Path

from cordee.emulator.doctor import PAIR

ROOT = Path(__file__).parents[2]


def test_the_parts_keep_to_their_layers() -> None:
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_naming_the_commands_loads_no_torch() -> None:
    program = (
        "import sys\n"
        "from cordee.cli import COMMANDS, Commands\n"
        "group = Commands()\n"
        "for name in COMMANDS: group.get_command(None, name)\n"
        "sys.exit(1 if {'torch', 'torch_npu', 'numpy'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_pair_the_doctor_expects_is_the_pair_that_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"]["emulator"]
    assert [need for need in wanted if need.startswith("torch")] == [
        f"torch=={PAIR}.0",
        f"torch-npu=={PAIR}.0",
    ]


def test_the_version_is_said_once_and_the_same() -> None:
    from cordee import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
