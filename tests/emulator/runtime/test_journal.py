"""What HCCL writes down of its operations, and that it is whole when a process is killed."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

# Two ranks in one process; the second comes to the first collective 50 ms late.
PROGRAM = """
import signal, time
from ctypes import byref, c_int32, c_void_p
acl = on_device(0)
hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
made = (c_void_p * 2)()
hccl.HcclCommInitAll(2, (c_int32 * 2)(0, 1), made)
streams, memory = [], []
for device in (0, 1):
    acl.aclrtSetDevice(device)
    streams.append(acl.stream())
    memory.append(acl.malloc(1 << 20))

def call(rank, name, *arguments):
    acl.aclrtSetDevice(rank)
    getattr(hccl, name)(*arguments, c_void_p(made[rank]), streams[rank])

def wait():
    for stream in streams:
        acl.aclrtSynchronizeStream(stream)

began = time.monotonic_ns()
call(0, "HcclAllReduce", memory[0], memory[0], 1 << 18, 4, 0)
time.sleep(0.05)
call(1, "HcclAllReduce", memory[1], memory[1], 1 << 18, 4, 0)
wait()
call(0, "HcclSend", memory[0], 100, 4, 1)
call(1, "HcclRecv", memory[1], 100, 4, 0)
wait()
say(began, time.monotonic_ns())
"""


def entries(folder: Path) -> list[Entry]:
    (file,) = folder.iterdir()
    text = file.read_text()
    assert text.endswith("\n")
    header, *lines = map(json.loads, text.splitlines())
    assert header["journal"] == 1
    assert file.name == f"collectives-{header['process']}.jsonl"
    return [line for line in lines if "open" not in line]


def open_entries(folder: Path) -> list[Entry]:
    (file,) = folder.iterdir()
    return [line for line in map(json.loads, file.read_text().splitlines()) if "open" in line]


def test_a_collective_tells_when_its_ranks_came_and_met(
    run: Callable[..., str], tmp_path: Path
) -> None:
    before, after = map(int, run(PROGRAM, CORDEE_CHIPS="2", CORDEE_TRACE=str(tmp_path)).split())
    by_rank = {e["rank"]: e for e in entries(tmp_path) if e["what"] == "HcclAllReduce"}
    early, late = by_rank[0], by_rank[1]
    for entry in (early, late):
        issued, begun, met, ended = entry["ns"]
        assert before <= issued <= begun <= met <= ended <= after
        assert (entry["chip"], entry["ranks"], entry["bytes"]) == (entry["rank"], 2, 1 << 20)
        assert entry["code"] == 0
    assert early["operation"] == late["operation"] > 0
    assert early["identity"] == late["identity"]
    assert early["ns"][2] - early["ns"][1] > 45_000_000
    assert late["ns"][2] - late["ns"][1] < 45_000_000


def test_messages_tell_their_peers_and_bytes(run: Callable[..., str], tmp_path: Path) -> None:
    run(PROGRAM, CORDEE_CHIPS="2", CORDEE_TRACE=str(tmp_path))
    sent, received = sorted(
        (e for e in entries(tmp_path) if not e["operation"]), key=lambda e: str(e["what"])
    )[::-1]
    assert (sent["what"], sent["sends"]) == ("HcclSend", [[1, 400]])
    assert (received["what"], received["receives"]) == ("HcclRecv", [[0, 400]])
    assert "receives" not in sent
    assert sent["ns"][2] == 0


def test_a_process_that_is_killed_leaves_whole_lines_of_all_that_had_ended(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    program = PROGRAM + "\ncall(0, 'HcclBarrier')\ntime.sleep(0.05)\nos.kill(os.getpid(), 9)\n"
    child = start(program, CORDEE_CHIPS="2", CORDEE_TRACE=str(tmp_path))
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert sorted(e["what"] for e in entries(tmp_path)) == [
        *("HcclAllReduce", "HcclAllReduce", "HcclRecv", "HcclSend")
    ]


def test_an_operation_that_never_ends_is_seen_while_it_waits(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    program = PROGRAM + "\ncall(0, 'HcclBarrier')\ntime.sleep(0.6)\nos.kill(os.getpid(), 9)\n"
    child = start(program, CORDEE_CHIPS="2", CORDEE_TRACE=str(tmp_path))
    child.communicate(timeout=120)
    seen = [e for e in open_entries(tmp_path) if e["what"] == "HcclBarrier"]
    ran_ns = [ended - begun for _, begun, _, ended in (entry["ns"] for entry in seen)]
    assert 3 <= len(seen) <= 14
    assert 50_000_000 <= ran_ns[0] < ran_ns[-1]
    assert ran_ns[-1] > 300_000_000
    assert {(e["ns"][0], e["ns"][2], e["code"]) for e in seen} == {(seen[0]["ns"][0], 0, 0)}


def test_without_a_folder_nothing_is_written(run: Callable[..., str], tmp_path: Path) -> None:
    run(f"os.chdir({str(tmp_path)!r})\n" + PROGRAM, CORDEE_CHIPS="2")
    assert not list(tmp_path.iterdir())


def test_a_journal_that_cannot_be_written_does_not_stop_the_program(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    child = start(PROGRAM, CORDEE_CHIPS="2", CORDEE_TRACE=str(tmp_path / "none"))
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 0
    assert errors.count("cannot be written: No such file or directory") == 1
