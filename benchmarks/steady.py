"""What does a step cost more than one of plain DDP, where nothing fails?

python benchmarks/steady.py [--device npu] [--workers 4]

All three systems train the GPT of benchmarks/recovery side by side and take turns: while one makes some steps the
others wait, so that cores which are slower for a while are so for all of them. Of each round a system's time is held
against that of plain DDP, whose turn was seconds before or after; each round has another order. The median of these
ratios is what a step costs; beside it what all turns took, and the processor time of all processes of a system in its
turns. Writes a part of steady.toml.
"""

import json
import os
import random
import statistics
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from recovery import Setting, command, variables

FILE = Path(__file__).with_name("steady.toml")
NAMES = ("plain", "cordee fast", "cordee exact")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Took:
    """A turn."""

    wall_s: float
    cpu_s: float


class System:
    """One of those that take turns: its program waits until it is told to make the next steps."""

    def __init__(self, program: list[str], setting: Setting, each: int, folder: Path) -> None:
        turns = folder / "turns"
        turns.mkdir(parents=True)
        paths = [turns / f"{word}-{n}" for word in ("go", "done") for n in range(setting.workers)]
        for path in paths:
            os.mkfifo(path)
        more = {"STEPS_TURNS": str(turns), "STEPS_EACH": str(each)}
        self._process = subprocess.Popen(
            program,
            env=variables(setting, folder) | more,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        opened = [os.open(path, os.O_RDWR) for path in paths]
        self._go, self._done = opened[: setting.workers], opened[setting.workers :]

    def ready(self) -> None:
        """Wait until all workers have made the steps of their turn."""
        for done in self._done:
            os.read(done, 1)

    def turn(self) -> Took:
        """Let them make the next ones."""
        processes = tree(self._process.pid)
        cpu_s, began_s = cpus_s(processes), time.perf_counter()
        for go in self._go:
            os.write(go, b"g")
        self.ready()
        return Took(time.perf_counter() - began_s, cpus_s(processes) - cpu_s)

    def finish(self) -> None:
        """Let them come to their end."""
        for go in self._go:
            os.write(go, b"g")
        self._process.wait(60)

    def end(self) -> None:
        """Whatever they are at."""
        self._process.terminate()
        self._process.wait(60)


@contextmanager
def started(program: list[str], setting: Setting, each: int, folder: Path) -> Iterator[System]:
    system = System(program, setting, each, folder)
    try:
        yield system
        system.finish()
    finally:
        system.end()


def tree(root: int) -> list[int]:
    """A process and all that come from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            found = stat_of(int(entry.name))
            parents[int(entry.name)] = int(found[1]) if found else 0
    processes = [root]
    for process in processes:
        processes += [child for child, parent in parents.items() if parent == process]
    return processes


def cpus_s(processes: list[int]) -> float:
    """Processor time that these have taken."""
    found = [stat_of(process) for process in processes]
    return sum(int(one[11]) + int(one[12]) for one in found if one) / TICKS


def stat_of(process: int) -> list[str]:
    """What the kernel says of a process, behind its name; nothing where it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def measured(
    programs: Callable[[str, Path], list[str]],
    names: tuple[str, ...],
    setting: Setting,
    each: int,
    rounds: int,
) -> dict[str, list[Took]]:
    """Turns of systems. `programs`: what starts one by its name, in a folder."""
    took: dict[str, list[Took]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        systems = {}
        for number, name in enumerate(names):
            own = Path(folder) / str(number)
            systems[name] = stack.enter_context(started(programs(name, own), setting, each, own))
        for system in systems.values():
            system.ready()
        for system in systems.values():
            system.turn()  # to get warm
        order = random.Random(0)
        for _ in range(rounds):
            for name in order.sample(names, len(names)):
                took[name].append(systems[name].turn())
    return took


def told(took: dict[str, list[Took]], each: int) -> dict[str, dict[str, object]]:
    plain = next(iter(took.values()))
    rows: dict[str, dict[str, object]] = {}
    for name, turns in took.items():
        pairs = list(zip(turns, plain, strict=True))
        walls = sorted(mine.wall_s / other.wall_s for mine, other in pairs)
        rows[name] = {
            "step_ms": round(statistics.median(turn.wall_s for turn in turns) / each * 1e3),
            "against_plain": round(statistics.median(walls), 3),
            "in_all": round(sum(t.wall_s for t in turns) / sum(t.wall_s for t in plain), 3),
            "quartiles": [round(walls[len(walls) // 4], 3), round(walls[-len(walls) // 4 - 1], 3)],
            "cpu_against_plain": round(
                statistics.median(mine.cpu_s / other.cpu_s for mine, other in pairs), 3
            ),
        }
    return rows


@click.command()
@click.option("--workers", default=2)
@click.option("--shards", default=4)
@click.option("--each", default=6, help="Steps of a turn.")
@click.option("--rounds", default=21)
@click.option("--device", type=click.Choice(["cpu", "npu"]), default="cpu")
def main(*, workers: int, shards: int, each: int, rounds: int, device: str) -> None:
    setting = Setting(workers, (rounds + 1) * each + 1, shards, device, 60.0)
    took = measured(lambda n, f: command(n, setting, f), NAMES, setting, each, rounds)
    rows = told(took, each)
    print(json.dumps(rows, indent=1))
    parts = tomllib.loads(FILE.read_text()) if FILE.exists() else {}
    parts[f"{device}-{workers}"] = {
        "rounds": rounds,
        "steps_of_a_turn": each,
        "shards": shards,
    } | rows
    text = (
        "# benchmarks/steady.py: medians of rounds, each held against plain DDP in the same round\n"
    )
    for part, values in sorted(parts.items()):
        text += f"[{part}]\n"
        for name, value in values.items():
            row = json.dumps(value)
            if isinstance(value, dict):
                row = f"{{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in value.items())} }}"
            text += f'"{name}" = {row}\n' if " " in name else f"{name} = {row}\n"
    FILE.write_text(text)


if __name__ == "__main__":
    main()
