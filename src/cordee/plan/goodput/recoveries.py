"""Ways to recover by name, or with a time of the user's own."""

import re
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import ClassVar

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.plan.goodput.cluster import Recovery

UNITS_S = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known(Fact):
    """One that is known."""

    CHECKED: ClassVar = ("opened", "second", "recalled")

    name: str
    in_place: bool
    notice_s: float
    resume_s: float
    checked: str
    note: str = ""


def known() -> tuple[Known, ...]:
    """Every row."""
    return tuple(rows(files("cordee.plan.goodput") / "recoveries.toml", Known, table="recovery"))


def recovery(text: str) -> Recovery:
    """That of a name, or of a name and a time: `restart:10min`, `in-place:1s`. Raises `UsageError`."""
    name, _, time = text.partition(":")
    found = next((row for row in known() if row.name == name), None)
    if found is None:
        names = ", ".join(row.name for row in known())
        raise UsageError(
            f"--recovery {text}: one of {names}; with a time of your own: restart:10min"
        )
    made = Recovery(
        name=text, in_place=found.in_place, notice_s=found.notice_s, resume_s=found.resume_s
    )
    if not time:
        return made
    given_s = seconds(time, "--recovery")
    # What is given counts from the failure; the policy's own time to notice stays what it is.
    notice_s = min(given_s, found.notice_s) if not found.in_place else found.notice_s
    resume_s = given_s if found.in_place else given_s - notice_s
    return replace(made, notice_s=notice_s, resume_s=resume_s)


def seconds(text: str, option: str) -> float:
    """A time with its unit. Raises `UsageError` where it is none."""
    found = DURATION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: a time such as 30s, 10min or 2h")
    return float(found[1]) * UNITS_S[found[2]]
