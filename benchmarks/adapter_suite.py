"""How much of the adapter's own operator tests pass on the virtual chip, and why the rest does not?

    python benchmarks/adapter_suite.py --suite CHECKOUT/test/test_base_ops [--write]

    python benchmarks/adapter_suite.py --suite CHECKOUT/test/distributed --chips 2 --jobs 1 [--write]

Any checkout of a test folder of Ascend/op-plugin or Ascend/pytorch will do; its files are run as
they are, those of folders below it too where there are several chips. Some import einops, expecttest, ml_dtypes, en_dtypes, scipy or tqdm, which are to be
installed. `--write` puts the table into benchmarks/adapter_suite/<folder>.md; `--reports FOLDER`
keeps what every file printed; `--files 'test_npu_moe*'` runs some of them.
"""

import argparse
import ctypes
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import spawn_from_fork
from suite_table import Test, read_report, table

CLONE_NEWNET = 0x40000000  # linux/sched.h
RESULTS = Path(__file__).with_suffix("")

# What test files import: their processes inherit it.
IMPORTS = (
    "pytest",
    "torch.testing._internal.common_fsdp",
    "torch.testing._internal.distributed._tensor.common_dtensor",
    "torch_npu.testing.common_distributed",
    "torch_npu.testing.testcase",
)


@dataclass(frozen=True)
class Run:
    """What is run, and where its reports go."""

    suite: Path
    files: str
    chips: int
    jobs: int
    time_limit_s: int
    reports: Path
    resume: bool

    def test_files(self) -> list[Path]:
        every = self.suite.rglob("test_*.py") if self.chips > 1 else self.suite.glob("test_*.py")
        return sorted(path for path in every if path.match(self.files))

    def reported(self) -> list[Path]:
        """The files that were run, whether or not they came to their ends."""
        return [
            file
            for file in self.test_files()
            if (self.reports / f"{self.name(file)}.log").is_file()
        ]

    def name(self, file: Path) -> str:
        """Of a file, as reports and tables call it."""
        return ".".join(file.relative_to(self.suite).with_suffix("").parts)


def run_suite(run: Run, chip: str) -> list[Test]:
    """Run every test file on virtual chips, each in a process of its own."""
    command = [
        *(sys.executable, "-m", "cordee", "run", "--chip", chip, "--chips", str(run.chips), "--"),
        *(sys.executable, __file__, "--worker", "--suite", str(run.suite), "--files", run.files),
        *(
            "--chips",
            str(run.chips),
            "--jobs",
            str(run.jobs),
            "--time-limit-s",
            str(run.time_limit_s),
        ),
        *("--reports", str(run.reports)),
        *(["--resume"] if run.resume else []),
    ]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    return read(run)


def read(run: Run) -> list[Test]:
    """What the reports say, so far."""
    return [test for file in run.reported() for test in read_report(run.name(file), run.reports)]


def work(run: Run) -> None:
    """On the virtual chip: fork one process per test file, some at a time."""
    for module in IMPORTS:
        importlib.import_module(module)
    running: dict[int, Path] = {}

    def wait() -> None:
        pid, status = os.wait()
        file = running.pop(pid)
        with suppress(ProcessLookupError):  # what its tests started and left
            os.killpg(pid, signal.SIGKILL)
        if os.WIFSIGNALED(status):
            with (run.reports / f"{run.name(file)}.log").open("a") as log:
                log.write(f"\nkilled by signal {os.WTERMSIG(status)}\n")

    files = run.test_files()
    if run.resume:
        files = [file for file in files if not _report(run.name(file), run.reports).is_file()]
    for number, file in enumerate(files, start=1):
        if len(running) == run.jobs:
            wait()
        print(f"\r{number}/{len(files)} {file.stem:<60.60}", end="", file=sys.stderr, flush=True)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            _test_file(file, run)
        running[pid] = file
    while running:
        wait()
    print(file=sys.stderr)


def _test_file(file: Path, run: Run) -> NoReturn:
    import pytest
    from _pytest.unittest import UnitTestCase

    UnitTestCase.newinstance = _instance  # type: ignore[method-assign]
    os.chdir(file.parent)
    sys.path.insert(0, str(file.parent))
    if run.chips > 1:
        _enter_own_network()
    name, time_limit_s, reports = run.name(file), run.time_limit_s, run.reports
    log = os.open(reports / f"{name}.log", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if run.chips > 1:
        spawn_from_fork.install()
    pytest.main(
        [
            *("-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="),
            *("-o", "filterwarnings=", "-o", "python_functions=none_but_unittest"),
            *("--timeout", str(time_limit_s), "--rootdir", str(file.parent)),
            *(
                "--import-mode",
                "prepend" if run.chips > 1 else "importlib",
                f"--junitxml={_report(name, reports)}",
                str(file),
            ),
        ]
    )
    os._exit(0)


def _instance(collector: Any) -> object:
    """A test case for its class's fixtures: some classes want the name of a test that they have."""
    try:
        return collector.obj("runTest")
    except AttributeError:
        return collector.obj(unittest.TestLoader().getTestCaseNames(collector.obj)[0])


def _enter_own_network() -> None:
    """Where that is allowed: tests that run at the same time listen at the same ports."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _report(name: str, reports: Path) -> Path:
    return reports / f"{name}.xml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", type=Path, required=True, help="folder of test files")
    parser.add_argument("--chip", default="Ascend910B3")
    parser.add_argument("--chips", type=int, default=1, help="of the virtual machine")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--time-limit-s", type=int, default=300, help="for one test")
    parser.add_argument("--files", default="test_*", help="names of the files to run, a pattern")
    parser.add_argument("--reports", type=Path, help="folder in which reports and logs are kept")
    parser.add_argument("--resume", action="store_true", help="leave out files with a report")
    parser.add_argument("--read", action="store_true", help="run nothing; read --reports")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="put the table beside this script")
    arguments = parser.parse_args()
    suite = arguments.suite.resolve()
    if not suite.is_dir():
        parser.error(f"{arguments.suite}: no such folder")
    with tempfile.TemporaryDirectory() as folder:
        reports = (arguments.reports or Path(folder)).resolve()
        reports.mkdir(parents=True, exist_ok=True)
        files = f"{arguments.files.removesuffix('.py')}.py"
        jobs, limit_s, resume = arguments.jobs, arguments.time_limit_s, arguments.resume
        run = Run(suite, files, arguments.chips, jobs, limit_s, reports, resume)
        if arguments.worker:
            work(run)
            return
        tests = read(run) if arguments.read else run_suite(run, arguments.chip)
        part = f"{len(run.reported())} of {len(run.test_files())} files"
    text = table(suite, tests, part)
    print(text)
    if arguments.write:
        RESULTS.mkdir(exist_ok=True)
        chips = f"_{arguments.chips}_chips" if arguments.chips > 1 else ""
        (RESULTS / f"{suite.name}{chips}.md").write_text(text)


if __name__ == "__main__":
    main()
