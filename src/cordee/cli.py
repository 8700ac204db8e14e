"""The `cordee` command: names what it can do, and loads only what is asked for."""

import platform
import sys
from importlib import metadata

import click

from cordee import __version__
from cordee.core.commands import Commands
from cordee.core.errors import CordeeError
from cordee.core.extras import missing

COMMANDS = {
    "assess": "cordee.port.cli:assess",
    "chat": "cordee.serve.chat.cli:chat",
    "chips": "cordee.emulator.cli:chips",
    "demo": "cordee.journey.cli:demo",
    "doctor": "cordee.emulator.cli:doctor",
    "explain": "cordee.port.cli:explain",
    "fault": "cordee.emulator.faults.cli:fault",
    "plan": "cordee.plan.cli:plan",
    "port": "cordee.port.cli:port",
    "run": "cordee.emulator.cli:run",
    "serve": "cordee.serve.cli:serve",
    "train": "cordee.train.cli:train",
}


def found() -> str:
    """The version, and what of the software that it stands on is here."""
    libraries = [f"{name} {_version(name)}" for name in ("torch", "torch-npu")]
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return "\n".join([f"cordee {__version__}", python, *libraries])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"


@click.group(cls=Commands, later=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cordee", message=found())
def cli() -> None:
    """Take LLM workloads from NVIDIA GPUs to Huawei Ascend, and keep them running."""


def main() -> None:
    """Run the command line; a user's mistake ends with one line, not with a traceback."""
    try:
        try:
            sys.exit(cli(prog_name="cordee", standalone_mode=False))
        except ModuleNotFoundError as absent:
            raise missing(sys.argv[1], absent) from absent
    except CordeeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        sys.exit(asked.exit_code)
    except click.ClickException as error:
        print(f"error: {_said(error)}", file=sys.stderr)
        sys.exit(2)
    except click.Abort:
        sys.exit(1)


def _said(error: click.ClickException) -> str:
    """What is wrong with the words of a command, and where it is told what they may be."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "cordee"
    wrong = error.format_message().rstrip(".").replace("\n", " ")
    return f"{command}: {wrong[:1].lower()}{wrong[1:]}; see {command} --help"
