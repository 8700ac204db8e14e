"""What stands around a server in a file: resources, runtimes, devices, labels and taints, by a table.

Kinds of names in surroundings.toml: resource, runtime, device, device request, mount, platform, label (of a node),
toleration; the other rows are said as they are.
"""

from dataclasses import dataclass, field, replace

from cordee.serve.deployment.chips import Target
from cordee.serve.deployment.judgement import Finding, Row, row_for

TABLE = "surroundings.toml"


@dataclass(slots=True)
class Surroundings:
    """What is said of all that stands around one server."""

    target: Target
    findings: list[Finding] = field(default_factory=list)

    def judge(
        self, kind: str, name: str, value: str = "", subject: str = ""
    ) -> tuple[str, str] | None:
        """What stands for something: a name and a value; None where it is left out."""
        row = row_for(f"{kind} {name}".strip(), value, self.target.family.name, TABLE)
        if row is None:
            return name, value
        what, _, rest = self._of(row.change).partition(" ")
        after: tuple[str, str] | None = (name, value)
        if what == "drop":
            after = None
        elif what == "name":
            after = (rest, value)
        elif what == "as":
            new, _, given = rest.partition(" ")
            after = (new, given)
        subject = subject or f"{kind} {name} {value}".strip()
        becomes = "left out" if after is None else ": ".join(part for part in after if part)
        self.add(row, subject, "" if after == (name, value) else becomes)
        return after

    def say(self, name: str, subject: str, becomes: str = "") -> None:
        """Add what the table says under a name."""
        row = row_for(name, "", self.target.family.name, TABLE)
        assert row is not None, name
        self.add(row, subject, becomes)

    def add(self, row: Row, subject: str, becomes: str) -> None:
        """Once each."""
        found = row.finding(subject)
        found = replace(
            found, says=self._of(found.says), instead=self._of(found.instead), becomes=becomes
        )
        if found not in self.findings:
            self.findings.append(found)

    def _of(self, text: str) -> str:
        chip = self.target.chip.soc_name.removeprefix("Ascend")
        return text.replace("{chip}", chip).replace("{resource}", self.target.family.kubernetes)
