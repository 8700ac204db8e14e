"""The `cordee` command: names what it can do, and loads only what is asked for."""

import importlib
import sys

import click

from cordee import __version__
from cordee.core.errors import CordeeError

COMMANDS = {
    "assess": "cordee.port.cli:assess",
    "chat": "cordee.serve.chat.cli:chat",
    "chips": "cordee.emulator.cli:chips",
    "doctor": "cordee.emulator.cli:doctor",
    "explain": "cordee.port.cli:explain",
    "fault": "cordee.emulator.faults.cli:fault",
    "plan": "cordee.plan.cli:plan",
    "port": "cordee.port.cli:port",
    "run": "cordee.emulator.cli:run",
    "serve": "cordee.serve.cli:serve",
    "train": "cordee.train.cli:train",
}


class Commands(click.Group):
    """A group that imports a command's module on first use, so that `--help` is immediate."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cordee")
def cli() -> None:
    """Take LLM workloads from NVIDIA GPUs to Huawei Ascend, and keep them running."""


def main() -> None:
    """Run the command line; a user's mistake ends with one line, not with a traceback."""
    try:
        cli(prog_name="cordee")
    except CordeeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
