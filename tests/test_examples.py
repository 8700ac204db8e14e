"""Does every command show an example in its help, and does the example do something?"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
import pytest

from cordee.cli import cli
from cordee.core.examples import EXAMPLES

ROOT = Path(__file__).parents[1]
HERE = {name: one for name, one in EXAMPLES.items() if not one.tried_in}
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def commands(group: click.Group, above: click.Context, path: str = "") -> Iterator[tuple[str, str]]:
    """Names and helps of all commands that are no groups."""
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=above)
        if isinstance(command, click.Group):
            yield from commands(command, context, f"{path}{name} ")
        else:
            yield path + name, command.get_help(context)


@contextmanager
def machine(options: str) -> Iterator[dict[str, str]]:
    """A virtual machine that runs meanwhile; what tells a command that it is meant, whatever else runs here."""
    command = [
        "cordee",
        "run",
        "--virtual",
        *options.split(),
        "--",
        "sh",
        "-c",
        "echo $CORDEE_MACHINE; exec sleep 600",
    ]
    environment = os.environ | {"PATH": PATH}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert running.stdout is not None
        found = running.stdout.readline().strip()
        assert found
        yield {"CORDEE_MACHINE": found}
    finally:
        running.terminate()
        running.communicate(timeout=60)


def done(command: str, folder: Path, machine: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=os.environ | machine | {"PATH": PATH, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_help_of_every_command_ends_with_its_example() -> None:
    shown = dict(commands(cli, click.Context(cli, info_name="cordee")))
    assert shown.keys() == EXAMPLES.keys()
    for name, text in shown.items():
        example = EXAMPLES[name].command
        assert example.startswith(f"cordee {name.removesuffix(' run')}"), name
        assert re.sub(r"\s+", "", text).endswith(re.sub(r"\s+", "", example)), name


@pytest.mark.parametrize("name", HERE)
def test_an_example_does_what_it_says(name: str, tmp_path: Path) -> None:
    example = HERE[name]
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with machine(example.machine) if example.machine else nullcontext({}) as meant:
        ended = done(example.command, tmp_path, meant)
    assert ended.returncode == example.exit_code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_takes_more_is_tried_elsewhere() -> None:
    for name, example in EXAMPLES.items():
        assert (ROOT / example.tried_in).exists(), name
