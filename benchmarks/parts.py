"""What does it cost that parts of a sharded model are kept on another host, too, and what does a lost host cost then?

python benchmarks/parts.py [--rounds 4] [--lost-only]

The GPT of benchmarks/recovery in FSDP2, two workers, each with half of it. Side by side and by turns, as in steady.py:
nothing kept; each part kept in its own host's memory; and with two hosts, in the other one's, too. Hosts are addresses
of one computer, whose cores send and take both. Then a job with spares loses one of two hosts, with what is in its
memory (`--lost-only`). Times are held against those with nothing kept. Writes a part of parts.toml.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import click
from recovery import PROGRAMS, Setting, lines, variables
from steady import measured, told

from cordee.core.events import read
from cordee.train.checkpoint.custody import keep_for
from cordee.train.checkpoint.memory import ROOT
from cordee.train.wire import new_secret

FILE = Path(__file__).with_suffix(".toml")
NAMES = ("nothing kept", "own host", "other host, too")
LOST_AT = 12


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def agent(setting: Setting, folder: Path, host: int, port: int, *options: str) -> list[str]:
    """What starts a host of two; of a job on one where `port` is 0."""
    words = [sys.executable, "-m", "cordee", "train", "-n", "2", "--mode", "exact", *options]
    if port:
        endpoints = f"127.0.0.1:{port},127.0.0.2:{port}"
        words += ["--rdzv-endpoint", endpoints, "--address", f"127.0.0.{host}:{port}"]
    program = [str(PROGRAMS / "sharded.py"), str(setting.steps), str(setting.shards)]
    return [*words, "--page", "off", "--folder", str(folder / "job"), "--", *program]


def programs(setting: Setting, name: str, folder: Path) -> list[str]:
    """One process that is all hosts of a job."""
    if name != NAMES[-1]:
        keep = ("--keep-every", "0") if name == NAMES[0] else ()
        return agent(setting, folder, 1, 0, *keep)
    port = free_port()
    both = [shlex.join(agent(setting, folder, host, port, "--per-host", "1")) for host in (1, 2)]
    return ["bash", "-c", f"trap 'kill 0' TERM; {both[0]} & {both[1]} & wait"]


def undisturbed(setting: Setting) -> list[str]:
    """The digests of both parts after a run of one host."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = agent(setting, folder, 1, 0)
        subprocess.run(words, env=variables(setting, folder), check=True, capture_output=True)
        return digests(lines(folder / "steps.jsonl"))


def digests(made: list[Any]) -> list[str]:
    return sorted(f"{line['part']}-{line['digest']}" for line in made if "digest" in line)


def lost(setting: Setting) -> dict[str, object]:
    """What a host costs that falls."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        agents = [
            subprocess.Popen(
                agent(setting, folder, host, port, "--spares", "2"),
                env=variables(setting, folder),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for host in (1, 2)
        ]
        log = folder / "steps.jsonl"
        while max((line.get("step", 0) for line in lines(log)), default=0) < LOST_AT:
            time.sleep(0.02)
        began_s = time.time()
        os.killpg(agents[1].pid, signal.SIGKILL)
        memory = keep_for(folder / "job" / "127.0.0.2", 1, None, 1, "127.0.0.2").memory
        for file in ROOT.glob(f"{memory}*"):
            file.unlink()
        assert agents[0].wait(setting.most_s) == 0
        agents[1].wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agents[1].pid, signal.SIGKILL)
        events = list(read(folder / "job" / "127.0.0.1" / "events.jsonl"))
        same = digests(lines(log)) == undisturbed(setting)
        return seen(events, began_s) | {"same_parameters": same}


def seen(events: list[dict[str, Any]], began_s: float) -> dict[str, object]:
    commits = [event for event in events if event["kind"] == "commit"]
    farthest = max(event["step"] for event in commits if event["time_s"] < began_s)
    first = next(e for e in commits if e["time_s"] > began_s and e["step"] > farthest)
    again = len(commits) - len({event["step"] for event in commits})
    (recovered,) = (event for event in events if event["kind"] == "recovered")
    resumed = [event["took_s"] for event in events if event["kind"] == "resumed"]
    return {
        "pause_s": round(first["time_s"] - began_s, 2),
        "part_taken_s": round(max(resumed), 2),
        "formed_s": round(recovered["formed_s"], 2),
        "steps_made_again": again,
        "restarts": len([event for event in events if event["kind"] == "restart"]),
    }


def steady(setting: Setting, each: int, rounds: int) -> dict[str, dict[str, object]]:
    took = measured(lambda n, f: programs(setting, n, f), NAMES, setting, each, rounds)
    rows = told(took, each)
    for row in rows.values():
        row["against_nothing_kept"] = row.pop("against_plain")
        row["cpu_against_nothing_kept"] = row.pop("cpu_against_plain")
    of = {"rounds": rounds, "steps_of_a_turn": each, "shards": setting.shards}
    return {"a step": dict(of), **rows}


@click.command()
@click.option("--rounds", default=4)
@click.option("--each", default=14, help="Steps of a turn; there is a whole state every 14.")
@click.option("--shards", default=2)
@click.option("--lost-only", is_flag=True, help="Renew what a lost host costs, and nothing else.")
def main(*, rounds: int, each: int, shards: int, lost_only: bool) -> None:
    os.environ["CORDEE_TRAIN_SECRET"] = new_secret()
    rows: dict[str, dict[str, object]] = tomllib.loads(FILE.read_text()) if FILE.exists() else {}
    if lost_only:
        rows["a host is lost"] = lost(Setting(2, 3 * LOST_AT, shards, "cpu", 120.0))
    else:
        rows |= steady(Setting(2, (rounds + 1) * each + 1, shards, "cpu", 60.0), each, rounds)
    print(json.dumps(rows, indent=1))
    text = "# benchmarks/parts.py: medians of rounds, each held against that with nothing kept\n"
    for name, row in rows.items():
        values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in row.items())
        text += f'"{name}" = {{ {values} }}\n'
    FILE.write_text(text)


if __name__ == "__main__":
    main()
