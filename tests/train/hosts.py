"""The hosts of a job for tests: process groups with addresses of their own, 127.0.0.x. One falls when all its processes die."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.train.commits import committed
from tests.train.incubator import incubated
from tests.waiting import until

from cordee.core.events import read
from cordee.train.checkpoint.custody import keep_for
from cordee.train.checkpoint.memory import ROOT

LIGHT = Path(__file__).parent / "programs" / "light.py"
FIRST_PORT = 21_000


@dataclass
class Hosts:
    """Those of a job, each with its agent."""

    folder: Path
    count: int
    agents: dict[int, subprocess.Popen[str]] = field(default_factory=dict)
    environments: dict[int, dict[str, str]] = field(default_factory=dict)
    """What those of each find in their environment besides."""

    @property
    def port(self) -> int:
        return FIRST_PORT + os.getpid() % 10_000

    def start(
        self, *options: str, program: tuple[str, ...] = (), secrets: dict[int, str] | None = None
    ) -> None:
        for number in range(1, self.count + 1):
            self.add(number, *options, program=program, secret=(secrets or {}).get(number, "known"))

    def add(
        self, number: int, *options: str, program: tuple[str, ...] = (), secret: str = "known"
    ) -> None:
        if number in self.agents:
            self.agents[number].communicate()
        endpoints = ",".join(f"127.0.0.{n}:{self.port}" for n in range(1, self.count + 1))
        where = ("--rdzv-endpoint", endpoints, "--address", f"127.0.0.{number}:{self.port}")
        command = [sys.executable, "-m", "cordee", "train", "--page", "off", *where, *options]
        self.agents[number] = subprocess.Popen(
            [*command, "--folder", str(self.folder), "--", *(program or (sys.executable, LIGHT))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ
            | incubated()
            | self.environments.get(number, {})
            | {"CORDEE_TRAIN_SECRET": secret},
        )

    def falls(self, number: int) -> None:
        os.killpg(self.agents[number].pid, signal.SIGKILL)

    def memory(self, number: int, checkpoint: Path | None = None) -> str:
        """What a host's shared memory is called."""
        address = f"127.0.0.{number}"
        return keep_for(self.folder / address, 1, checkpoint, 1, address).memory

    def kept(self, number: int, checkpoint: Path | None = None) -> list[Path]:
        """The files that are there."""
        return list(ROOT.glob(f"{self.memory(number, checkpoint)}*"))

    def events(self, number: int) -> list[dict[str, Any]]:
        journal = self.folder / f"127.0.0.{number}" / "events.jsonl"
        return list(read(journal)) if journal.exists() else []

    def steps(self, number: int) -> list[int]:
        return committed(self.events(number))

    def until(self, number: int, steps: int) -> None:
        """Wait for a host to have seen so many steps."""
        until(lambda: len(self.steps(number)) >= steps, by=self.agents[number])

    def end(self, number: int) -> tuple[int, str, str]:
        out, err = self.agents[number].communicate(timeout=120)
        return self.agents[number].returncode, out, err


def hosts(folder: Path, count: int) -> Iterator[Hosts]:
    made = Hosts(folder, count)
    yield made
    for agent in made.agents.values():
        with suppress(ProcessLookupError):
            os.killpg(agent.pid, signal.SIGKILL)
        agent.communicate()
