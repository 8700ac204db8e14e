"""`cordee serve check-args` asked in this process: what it prints, and with which code it ends."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cordee.core.errors import CordeeError
from cordee.serve.deployment.cli import check_args


@dataclass(frozen=True)
class Answer:
    """What a user sees."""

    text: str
    code: int

    @property
    def reports(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.text)
        return found

    def finding(self, subject: str) -> dict[str, Any]:
        """The finding whose subject begins so."""
        findings = [f for report in self.reports for f in report["findings"]]
        return next(f for f in findings if f["subject"].startswith(subject))

    def verdict(self, subject: str) -> str:
        return str(self.finding(subject)["verdict"])

    @property
    def command(self) -> str:
        return " ".join(self.reports[0]["command"])


def asked(*arguments: str, given: str | bytes | None = None) -> Answer:
    """As `main` would end it: an error of the user's is one line and its code."""
    done = CliRunner().invoke(check_args, list(arguments), input=given)
    if isinstance(done.exception, CordeeError):
        return Answer(f"error: {done.exception}", done.exception.exit_code)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Answer(done.output, done.exit_code)


def judged(command: str, *more: str) -> Answer:
    """A command on one line, answered in JSON."""
    return asked("--json", *more, command)


def judged_file(path: Path, text: str, *more: str) -> Answer:
    """A file, answered in JSON."""
    path.write_text(text)
    return asked("--json", "--file", str(path), *more)
