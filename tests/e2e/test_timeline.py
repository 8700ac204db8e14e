"""A run of two ranks of which one is late: what its report, its timeline and its trace say."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cordee.emulator.timeline import Timeline, timeline
from cordee.emulator.trace import read

CORDEE = [sys.executable, "-m", "cordee"]
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
STEPS, LATE_S = 8, 0.1
SURELY_S = STEPS * LATE_S / 2  # on a busy computer the other rank is late now and then

PROGRAM = f"""
import os, time, torch, torch.distributed as dist
from torch import nn
rank = int(os.environ["LOCAL_RANK"])
torch.npu.set_device(rank)
dist.init_process_group("hccl")
model = nn.parallel.DistributedDataParallel(nn.Linear(64, 64).npu())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range({STEPS}):
    if rank == 1:
        time.sleep({LATE_S})
    optimizer.zero_grad()
    model(torch.ones(8, 64).npu()).sum().backward()
    optimizer.step()
x = torch.ones(1000).npu()
dist.send(x, 1) if rank == 0 else dist.recv(x, 0)
dist.destroy_process_group()
"""


@dataclass(frozen=True, slots=True)
class Left:
    page: str
    perfetto: dict[str, Any]
    timeline: Timeline
    said: str


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("timeline")
    program, page = folder / "program.py", folder / "run.html"
    perfetto, trace = folder / "run.json", folder / "run.jsonl"
    program.write_text(PROGRAM)
    wanted = ["--report", str(page), "--perfetto", str(perfetto), "--trace", str(trace)]
    command = [TORCHRUN, "--nproc-per-node", "2", str(program)]
    done = subprocess.run(
        [*CORDEE, "run", "--chips", "2", *wanted, "--", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = timeline(read(trace))
    assert found is not None
    return Left(page.read_text(), json.loads(perfetto.read_text()), found, done.stderr)


def test_the_rank_that_sleeps_is_charged_with_what_the_other_waits(left: Left) -> None:
    reductions = [w for w in left.timeline.waits if w.operation.what == "HcclAllReduce"]
    waited = [w for w in reductions if (w.sufferer, w.causes) == ("rank 0", ("rank 1",))]
    assert sum(wait.caused_s for wait in waited) > SURELY_S


def test_an_operator_that_waits_for_a_collective_does_not_compute_meanwhile(left: Left) -> None:
    early = left.timeline.lanes[0]
    computing_s = sum(span.length_s for span in early.computing)
    assert computing_s < left.timeline.whole.length_s - SURELY_S


def test_what_is_left_is_said_in_a_line_each(left: Left) -> None:
    assert "events; open it in ui.perfetto.dev" in left.said
    assert "rank 1 was waited for most" in left.said


def test_the_page_has_lanes_a_table_of_waits_and_the_links(left: Left) -> None:
    assert "<h2>Ranks</h2>" in left.page
    assert "A while in the middle" in left.page
    assert left.page.count('class="plot lanes"') == 2
    assert "HcclAllReduce" in left.page
    assert "HCCS 0-1" in left.page


def test_the_trace_for_perfetto_has_both_ranks_and_their_links(left: Left) -> None:
    events = left.perfetto["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["rank 0 (chip 0)", "rank 1 (chip 1)", "links"]
    assert sum(event["name"] == "waiting for rank 1" for event in events) >= STEPS / 2
    assert {event["name"] for event in events if event["ph"] == "C"} == {"HCCS 0-1", "HCCS 1-0"}
    threads = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert any(name.startswith("collectives") for name in threads)
