"""What does `cordee` say where nothing of its extras is installed?"""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = (
    "click",
    "jinja2",
    "markupsafe",
    "packaging",
    "pathspec",
    "yaml",
    "_yaml",
    "rich",
    "pygments",
)
CORE_MORE = ("markdown_it", "mdurl")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that finds cordee and what its core needs, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    (installed,) = Path(sys.prefix).glob("lib/python*/site-packages")
    for name in (*CORE, *CORE_MORE):
        (site / name).symlink_to(installed / name)
    (site / "cordee").symlink_to(ROOT / "src" / "cordee")
    return folder / "bin" / "python"


def cordee(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(python), "-m", "cordee", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_all_commands_are_named_and_those_without_their_packages_say_how_to_get_them(
    python: Path,
) -> None:
    done = cordee(python, "--help")
    assert done.returncode == 0, done.stderr
    assert "train    Not installed here: pip install 'cordee[train]'." in done.stdout
    assert "torch is not installed" in cordee(python, "--version").stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("train -- x.py", "train"),
        ("serve model", "serve"),
        ("demo", "all"),
        ("run -- true", "emulator"),
    ],
)
def test_a_command_without_its_packages_says_how_to_get_them(
    python: Path, command: str, extra: str, tmp_path: Path
) -> None:
    done = cordee(python, *command.split())
    assert done.returncode == 2
    assert f"cordee[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_needs_no_torch_works(python: Path, tmp_path: Path) -> None:
    assert "left for you" in cordee(python, "assess", str(ROOT / "examples" / "nvidia_gpt")).stdout
    assert "910B3" in cordee(python, "plan", "chips", "910B3").stdout
