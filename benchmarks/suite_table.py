"""What a run of the adapter's tests came to: counts, and why each failed test failed.

Causes that somebody looked at stand in adapter_suite/causes.toml; what a message says tells others.
"""

import re
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

CAUSES = Path(__file__).with_name("adapter_suite") / "causes.toml"

# The checkout is newer than the wheel: an operator, or an argument of one, is not there.
NOT_IN_WHEEL = (
    r"module 'torch_npu(\.\w+)*' has no attribute"
    r"|'_OpNamespace' 'npu' object has no attribute"
    r"|npu::\w+(\.\w+)?\(\) (expected at most|takes) \d+|Unknown keyword argument"
)

# The first pattern found in what a failed test says is its cause.
SAID = (
    ("the wheel has no such operator", NOT_IN_WHEEL),
    ("graph capture is not emulated", r"capturing a graph|RI_CAPTURE_STATUS_ACTIVE"),
    ("not emulated", r"not emulated|NotEmulated"),
    ("refused as on the chip", r"which the chip does not support"),
    ("no room in this computer's memory", r"OutOfMemoryError|no host memory|signal 9\b"),
    ("crash", r"Fatal Python error"),
    ("over the time limit", r"Timeout"),
    ("asks for something this machine lacks", r"No module named|No such file|FileNotFound"),
    ("other result", r"AssertionError|not close|Tensor-likes|not equal"),
    ("other error", r""),
)


@dataclass(frozen=True)
class Cause:
    """A cause that was looked at, and the tests it is the cause of."""

    why: str
    tests: tuple[str, ...]  # patterns of their names
    says: str  # what their message holds, a regular expression

    def fits(self, test: "Test") -> bool:
        named = any(fnmatchcase(test.name, pattern) for pattern in self.tests)
        return named and re.search(self.says, test.message) is not None


@dataclass(frozen=True)
class Test:
    """One test of the suite, as pytest reports it."""

    name: str
    outcome: str  # passed, failed, skipped
    message: str

    @property
    def cause(self) -> str:
        """Why it failed, in a few words."""
        seen = (cause.why for cause in _causes() if cause.fits(self))
        said = (why for why, pattern in SAID if re.search(pattern, self.message))
        return next(seen, None) or next(said)


@cache
def _causes() -> tuple[Cause, ...]:
    rows = tomllib.loads(CAUSES.read_text())["cause"]
    return tuple(Cause(row["why"], tuple(row["tests"]), row.get("says", "")) for row in rows)


def read_report(name: str, reports: Path) -> Iterator[Test]:
    """The tests of one file, which tables call `name`."""
    report = reports / f"{name}.xml"
    if not report.is_file():
        log = reports / f"{name}.log"
        said = log.read_text(errors="replace")[-2000:] if log.is_file() else "did not start"
        yield Test(name, "failed", f"Fatal Python error: the process died: {said}")
        return
    for case in ET.parse(report).getroot().iter("testcase"):
        test = f"{name}::{case.get('name')}"
        problem = next((e for e in case if e.tag in ("failure", "error")), None)
        skipped = case.find("skipped")
        if problem is not None:
            yield Test(test, "failed", f"{problem.get('message')}\n{problem.text}")
        elif skipped is not None:
            yield Test(test, "skipped", skipped.get("message") or "")
        else:
            yield Test(test, "passed", "")


def table(suite: Path, tests: list[Test], part: str) -> str:
    """Counts, failures by cause, and every failed test with what it said."""
    outcomes = Counter(test.outcome for test in tests)
    ran = outcomes["passed"] + outcomes["failed"]
    share = outcomes["passed"] / ran if ran else 0.0
    failed = [test for test in tests if test.outcome == "failed"]
    causes = Counter(test.cause for test in failed)
    return "\n".join(
        [
            f"# {suite.name}: {share:.1%} of the tests that do not skip pass",
            "",
            f"Written by `python benchmarks/adapter_suite.py --suite .../{suite.name} --write`; {part} ran.",
            "",
            "| outcome | tests |",
            "| --- | ---: |",
            *(f"| {name} | {outcomes[name]} |" for name in ("passed", "failed", "skipped")),
            "",
            "| cause of failure | tests |",
            "| --- | ---: |",
            *(f"| {cause} | {count} |" for cause, count in causes.most_common()),
            "",
            "| failed test | cause | what it said |",
            "| --- | --- | --- |",
            *(f"| {test.name} | {test.cause} | {_said(test.message)} |" for test in failed),
            "",
        ]
    )


def _said(message: str) -> str:
    """The error that began it: of several processes' the first, and of a chain its last."""
    first = message.split("\nProcess ")[0] if "exited with" in message else message
    errors = re.findall(r"^(?:E\s+)?((?:\w+\.)*\w*(?:Error|Exception)\b.*(?:\n.+)?)", first, re.M)
    told = [error for error in errors if "exited with" not in error] or [message]
    line = re.sub(r"/\S*/(site-packages|test)/", "", " ".join(told[-1].split()))
    return line[:160].replace("|", "\\|").replace("<", "&lt;")
