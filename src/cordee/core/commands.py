"""Groups of commands: each is imported on first use, and its help ends with an example."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from cordee.core.examples import EXAMPLES
from cordee.core.extras import Missing

HELP = {"-h", "--help"}


class Commands(click.Group):
    """A group of commands, so that the help of one does not wait for the others."""

    def __init__(
        self,
        *arguments: Any,
        later: Mapping[str, str] | None = None,
        usual: str | None = None,
        **settings: Any,
    ) -> None:
        """`later`: where commands are that are imported when they are asked for. `usual`: the one that is meant where none is named."""
        super().__init__(*arguments, **settings)
        self._later = later or {}
        self._usual = usual

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._later:
            module, attribute = self._later[cmd_name].split(":")
            try:
                command = getattr(importlib.import_module(module), attribute)
            except ModuleNotFoundError as error:
                return Missing(cmd_name, error)
            assert isinstance(command, click.Command)
        elif (known := super().get_command(ctx, cmd_name)) is not None:
            command = known
        else:
            return None
        example = EXAMPLES.get(f"{ctx.command_path} {cmd_name}".removeprefix("cordee "))
        if example is not None:
            command.epilog = f"\b\nExample:\n  {example.command}"
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self._usual and (not args or args[0] not in {*self.list_commands(ctx), *HELP}):
            args = [self._usual, *args]
        return super().parse_args(ctx, args)
