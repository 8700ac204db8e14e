"""How much of the adapter's own operator tests pass on the virtual chip, and why the rest does not?

    python benchmarks/adapter_suite.py --suite CHECKOUT/test/test_base_ops [--write]

Any checkout of a test folder of Ascend/op-plugin or Ascend/pytorch will do; its files are run as
they are. `--write` puts the table into benchmarks/adapter_suite/<folder>.md.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

RESULTS = Path(__file__).with_suffix("")

# The first pattern found in what a failed test says is its cause.
CAUSES = (
    ("not emulated", r"not emulated|NotEmulated"),
    ("refused as on the chip", r"which the chip does not support"),
    ("crash", r"Fatal Python error"),
    ("over the time limit", r"Timeout"),
    ("asks for something this machine lacks", r"No module named|No such file|FileNotFound"),
    ("needs several chips", r"(?i)hccl|world.?size|NPU number"),
    ("other result", r"AssertionError|not close|Tensor-likes|not equal"),
    ("other error", r""),
)


@dataclass(frozen=True)
class Test:
    """One test of the suite, as pytest reports it."""

    name: str
    outcome: str  # passed, failed, skipped
    message: str

    @property
    def cause(self) -> str:
        """Why it failed, in a few words."""
        return next(cause for cause, pattern in CAUSES if re.search(pattern, self.message))


def run_suite(suite: Path, jobs: int, chip: str, time_limit_s: int) -> list[Test]:
    """Run every test file of `suite` on virtual chips, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "cordee", "run", "--chip", chip, "--"),
            *(sys.executable, __file__, "--suite", str(suite), "--jobs", str(jobs)),
            *("--time-limit-s", str(time_limit_s), "--reports", folder),
        ]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
        return [test for file in _files(suite) for test in _read(file, Path(folder))]


def work(suite: Path, jobs: int, time_limit_s: int, reports: Path) -> None:
    """On the virtual chip: fork one process per test file, `jobs` at a time."""
    # What every file imports; the children inherit it.
    import pytest  # noqa: F401
    import torch_npu.testing.testcase  # noqa: F401

    running: set[int] = set()
    files = _files(suite)
    for number, file in enumerate(files, start=1):
        if len(running) == jobs:
            running.discard(os.wait()[0])
        print(f"\r{number}/{len(files)} {file.stem:<60.60}", end="", file=sys.stderr, flush=True)
        pid = os.fork()
        if pid == 0:
            _test_file(file, time_limit_s, reports)
        running.add(pid)
    while running:
        running.discard(os.wait()[0])
    print(file=sys.stderr)


def _test_file(file: Path, time_limit_s: int, reports: Path) -> NoReturn:
    import pytest

    os.chdir(file.parent)
    sys.path.insert(0, str(file.parent))
    log = os.open(reports / f"{file.stem}.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    pytest.main(
        [
            *("-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="),
            *("-o", "filterwarnings=", "-o", "python_functions=none_but_unittest"),
            *("--timeout", str(time_limit_s), "--rootdir", str(file.parent)),
            *("--import-mode", "importlib", f"--junitxml={_report(file, reports)}", str(file)),
        ]
    )
    os._exit(0)


def _files(suite: Path) -> list[Path]:
    return sorted(suite.glob("test_*.py"))


def _report(file: Path, reports: Path) -> Path:
    return reports / f"{file.stem}.xml"


def _read(file: Path, reports: Path) -> Iterator[Test]:
    report = _report(file, reports)
    if not report.is_file():
        log = reports / f"{file.stem}.log"
        said = log.read_text(errors="replace")[-2000:] if log.is_file() else "did not start"
        yield Test(file.stem, "failed", f"Fatal Python error: the process died: {said}")
        return
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{file.stem}::{case.get('name')}"
        problem = next((e for e in case if e.tag in ("failure", "error")), None)
        skipped = case.find("skipped")
        if problem is not None:
            yield Test(name, "failed", f"{problem.get('message')}\n{problem.text}")
        elif skipped is not None:
            yield Test(name, "skipped", skipped.get("message") or "")
        else:
            yield Test(name, "passed", "")


def table(suite: Path, tests: list[Test]) -> str:
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
            f"Written by `python benchmarks/adapter_suite.py --suite .../{suite.name} --write`.",
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
            *(f"| {test.name} | {test.cause} | {_line(test.message)} |" for test in failed),
            "",
        ]
    )


def _line(message: str) -> str:
    first = " ".join(message.split())[:160]
    return first.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", type=Path, required=True, help="folder of test files")
    parser.add_argument("--chip", default="Ascend910B3")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--time-limit-s", type=int, default=300, help="for one test")
    parser.add_argument("--reports", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="put the table beside this script")
    arguments = parser.parse_args()
    suite = arguments.suite.resolve()
    if not suite.is_dir():
        parser.error(f"{arguments.suite}: no such folder")
    if arguments.reports:
        work(suite, arguments.jobs, arguments.time_limit_s, arguments.reports)
        return
    tests = run_suite(suite, arguments.jobs, arguments.chip, arguments.time_limit_s)
    text = table(suite, tests)
    print(text)
    if arguments.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{suite.name}.md").write_text(text)


if __name__ == "__main__":
    main()
