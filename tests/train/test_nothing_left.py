"""Is nothing left of a job, however it ends: no process, no socket that listens, nothing in shared memory, no file of a moment?

Each worker starts a program of its own, as one that loads data would, which does not end by itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from tests.train.jobs import SMALL, Ended, Fault
from tests.waiting import until

from cordee.train.checkpoint.custody import keep_for
from cordee.train.checkpoint.memory import ROOT, name_for

PROGRAM = f"""
import runpy, subprocess
subprocess.Popen(["sleep", "600"])
runpy.run_path({str(SMALL)!r}, run_name="__main__")
"""
LISTENS = "0A"


@dataclass
class Watched:
    """Jobs, each host of which is told by a variable that all its processes have."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid4().hex)
    agents: list[subprocess.Popen[str]] = field(default_factory=list)
    listening: set[str] = field(default_factory=set)
    mapped: set[Path] = field(default_factory=set)

    def start(
        self, *options: str, faults: tuple[Fault, ...] = (), secret: str = "known"
    ) -> subprocess.Popen[str]:
        program = self.folder / "program.py"
        program.write_text(PROGRAM)
        self.moments.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "cordee", "train", "--folder", str(self.journal)]
        agent = subprocess.Popen(
            [*command, *options, "--", str(program), "--shard-s", "0.05"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ
            | {"OF_A_TEST": self.mark, "TMPDIR": str(self.moments)}
            | {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "cache")}  # PyTorch's own, which stays
            | {"CORDEE_TRAIN_SECRET": secret}
            | {"CORDEE_TRAIN_FAULTS": json.dumps(faults) if faults else ""},
        )
        self.agents.append(agent)
        return agent

    @property
    def journal(self) -> Path:
        return self.folder / "job"

    @property
    def moments(self) -> Path:
        """For files that are needed for a moment."""
        return self.folder / "moments"

    def at_work(self, steps: int = 4, host: str = "") -> None:
        """Wait for so many steps, and remember what the job has open."""
        ended = Ended(0, "", "", self.journal / host)
        until(lambda: len(ended.steps) >= steps, 240, self.agents[0])
        pids = self.pids()
        assert len(pids) > 5
        opened = {link for pid in pids for link in links(pid)}
        self.listening = listening() & {
            link.removeprefix("socket:[").rstrip("]") for link in opened
        }
        assert self.listening
        self.mapped = {Path(link) for link in opened if link.startswith(str(ROOT))}

    def pids(self, named: str = "") -> list[int]:
        """Of the processes that run, or of those whose command has a word."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                marked = f"OF_A_TEST={self.mark}".encode() in (folder / "environ").read_bytes()
                if marked and named.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def nothing_is_left(self) -> None:
        end_s = time.monotonic() + 60
        while (left := self.pids()) and time.monotonic() < end_s:
            time.sleep(0.05)
        assert [Path(f"/proc/{pid}/cmdline").read_text() for pid in left] == []
        assert self.listening & listening() == set()
        assert [path for path in self.mapped if path.exists()] == []
        assert list(ROOT.glob(f"{name_for(self.journal)}*")) == []
        assert list(self.moments.iterdir()) == []


def links(pid: int) -> Iterator[str]:
    """What a process has open."""
    with suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(file.readlink())


def listening() -> set[str]:
    """The inodes of all sockets that listen. Source: proc_net_tcp of the kernel's documentation."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[9] for row in rows if row[3] == LISTENS}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    for pid in made.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for agent in made.agents:
        agent.communicate()


def sent(number: signal.Signals, named: str = "") -> Callable[[Watched], None]:
    """An end by a signal: to the launcher, or to those processes whose command has a word."""

    def end(watched: Watched) -> None:
        for pid in watched.pids(named) if named else [watched.agents[0].pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    return end


ENDS = {
    "it is done": (lambda _: None, 0),
    "Ctrl-C": (sent(signal.SIGINT), 1),
    "the system ends it": (sent(signal.SIGTERM), 1),
    "the terminal is closed": (sent(signal.SIGHUP), 1),
    "its launcher is killed": (sent(signal.SIGKILL), -signal.SIGKILL),
    "what starts its workers is killed": (sent(signal.SIGKILL, "cordee.train.nursery"), 0),
    "its coordinator is killed": (sent(signal.SIGKILL, "cordee.train.chair"), 0),
}
QUICK = {"Ctrl-C", "its launcher is killed", "what starts its workers is killed"}


@pytest.mark.parametrize(
    "end", [pytest.param(end, marks=() if end in QUICK else pytest.mark.slow) for end in ENDS]
)
def test_nothing_is_left_of_a_job_when(end: str, watched: Watched) -> None:
    act, code = ENDS[end]
    agent = watched.start("-n", "2", "--spares", "1")
    watched.at_work()
    act(watched)
    _, err = agent.communicate(timeout=240)
    assert agent.returncode == code, err
    watched.nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize("do", ["raise", "kill"])
def test_nothing_is_left_of_a_job_whose_workers_all_fail(do: str, watched: Watched) -> None:
    faults: tuple[Fault, ...] = tuple(
        {"worker": number, "step": 6, "at": "forward", "do": do} for number in range(20)
    )
    agent = watched.start("-n", "2", "--restarts", "1", faults=faults)
    watched.at_work()
    _, err = agent.communicate(timeout=240)
    assert agent.returncode == 1
    assert ("workers failed" if do == "raise" else "no worker is left") in err
    watched.nothing_is_left()


@pytest.mark.slow
def test_nothing_is_left_of_a_job_whose_disk_is_full(full: Path, watched: Watched) -> None:
    agent = watched.start("-n", "2", "--checkpoint", str(full), "--checkpoint-every", "2")
    watched.at_work()
    out, err = agent.communicate(timeout=240)
    assert agent.returncode == 0, err
    assert "No space left on device" in out
    watched.nothing_is_left()
    assert list(ROOT.glob(f"{name_for(full)}*")) == []
    assert list(full.iterdir()) == []


def hosts(watched: Watched, *secrets: str) -> None:
    """A job of two hosts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoints = f"127.0.0.1:{port},127.0.0.2:{port}"
    for number, secret in enumerate(secrets, start=1):
        place = ("--rdzv-endpoint", endpoints, "--address", f"127.0.0.{number}:{port}")
        watched.start("-n", "2", "--per-host", "1", *place, secret=secret)


@pytest.mark.slow
@pytest.mark.parametrize("falls", [0, 1])
def test_nothing_is_left_when_the_agent_of_a_host_is_killed(falls: int, watched: Watched) -> None:
    hosts(watched, "known", "known")
    watched.at_work(host="127.0.0.1")
    watched.agents[falls].kill()
    _, err = watched.agents[1 - falls].communicate(timeout=240)
    assert watched.agents[1 - falls].returncode == 0, err
    watched.nothing_is_left()
    for host in ("127.0.0.1", "127.0.0.2"):
        memory = keep_for(watched.journal / host, 1, None, 1, host).memory
        assert list(ROOT.glob(f"{memory}*")) == []


@pytest.mark.slow
def test_nothing_is_left_of_a_host_that_is_refused(watched: Watched) -> None:
    hosts(watched, "known", "guessed")
    _, err = watched.agents[1].communicate(timeout=240)
    assert watched.agents[1].returncode == 1
    assert "does not know the secret of this job" in err
    watched.agents[0].terminate()
    watched.agents[0].communicate(timeout=240)
    watched.nothing_is_left()
