"""The commands of `cordee plan`, as tests ask them."""

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result

from cordee.cli import cli
from cordee.core.errors import CordeeError


@dataclass(frozen=True)
class Command:
    """One of them, by its name."""

    name: str

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["plan", self.name, *arguments], env={"COLUMNS": "200"})

    def planned(self, *arguments: str) -> dict[str, Any]:
        """Its answer to a machine."""
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        found = json.loads(done.output)
        assert isinstance(found, dict)
        return found

    def refused(self, *arguments: str) -> str:
        """Why it does not answer."""
        done = self.run(*arguments)
        assert isinstance(done.exception, CordeeError), done.output
        return str(done.exception)
