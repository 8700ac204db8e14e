"""Packages that come with an extra of cordee, and what to say where one is missing."""

import click

from cordee.core.errors import UsageError

EXTRAS = {
    "chat": "serve",
    "chips": "emulator",
    "demo": "all",
    "doctor": "emulator",
    "fault": "emulator",
    "run": "emulator",
    "serve": "serve",
    "train": "train",
}
"""The extra of each command; `train` on virtual chips needs `emulator`, too."""


def missing(command: str, error: ModuleNotFoundError) -> UsageError:
    """Why a command cannot run here, and the way out. Raises `error` itself where it is a module of ours."""
    if error.name is None or error.name.startswith("cordee"):
        raise error
    extra = EXTRAS.get(command, "all")
    return UsageError(
        f"cordee {command} needs {error.name}, which is not installed: pip install 'cordee[{extra}]'"
    )


class Missing(click.Command):
    """Stands for a command whose packages are not installed."""

    def __init__(self, name: str, error: ModuleNotFoundError) -> None:
        why = missing(name, error)
        super().__init__(
            name,
            help=f"Not installed here: pip install 'cordee[{EXTRAS.get(name, 'all')}]'.",
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        self._why = why

    def invoke(self, ctx: click.Context) -> None:
        raise self._why
