"""Does a job on virtual Ascend chips go on through the real ProcessGroupHCCL, whatever becomes of a chip or a link?"""

import sys
from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Ended, Fault, job

WAITS = ("--silent-s", "15", "--hang-s", "15")
ONE_SPARE = ("--spares", "1", "--chip", "Ascend910B3", *WAITS)
PROGRAM = (str(SMALL), "--device", "npu", "--steps", "12")
PLAIN = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}
THREADS = """
import atexit
from pathlib import Path
def told():  # what is registered first is called last, when torch_npu has given its device back
    print("threads", *(t.joinpath("comm").read_text().strip() for t in Path("/proc/self/task").iterdir()))
atexit.register(told)
"""
POINTS = ("forward", "backward", "reduce", "vote", "voted", "apply")
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def uneventful(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A job on chips to which nothing happened. Each worker tells which threads it has when all else has ended."""
    folder = tmp_path_factory.mktemp("chips")
    program = folder / "told.py"
    program.write_text(THREADS + SMALL.read_text())
    words = (str(program), *PROGRAM[1:])
    ended = job(folder / "job", *words, options=("-n", "2", *ONE_SPARE), environment=PLAIN)
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def on_chips(uneventful: Ended) -> str:
    """The digest of the parameters after it."""
    assert len(set(uneventful.digests)) == 1
    return uneventful.digests[0]


def test_a_process_has_no_thread_of_a_group_any_more_when_its_device_is_given_back(
    uneventful: Ended,
) -> None:
    logs = [(uneventful.folder / f"worker-{worker}.log").read_text() for worker in (0, 1)]
    threads = [log.partition("\nthreads ")[2].split() for log in logs]
    assert all("python" in names for names in threads)
    assert [name for names in threads for name in names if name.startswith("hccl")] == []


def struck(folder: Path, fault: Fault, *, workers: int = 2) -> Ended:
    options = ("-n", str(workers), *ONE_SPARE)
    return job(folder, *PROGRAM, options=options, faults=(fault,), environment=PLAIN)


def strikes(command: str, point: str) -> Fault:
    """A fault of a chip or a link, struck by worker 1, on chip 1, as somebody at a terminal would."""
    told = f"{sys.executable} -m cordee fault {command}"
    return {"worker": 1, "step": 4, "at": point, "do": "run", "command": told}


@pytest.mark.parametrize("point", ["reduce", pytest.param("forward", marks=SLOW)])
def test_a_killed_worker_costs_no_step_and_no_bit_on_chips(
    point: str, on_chips: str, tmp_path: Path
) -> None:
    ended = struck(tmp_path, {"worker": 1, "step": 4, "at": point})
    assert ended.code == 0, ended.err
    assert len(ended.of("lost")) == 1
    assert set(ended.digests) == {on_chips}
    assert ended.steps == list(range(12))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("memory --chip 1 --report uce", "the memory of its chip is bad"),
        pytest.param("memory --chip 1", "the memory of its chip is bad", marks=SLOW),
        pytest.param("kill --chip 1", "its chip is lost", marks=SLOW),
    ],
    ids=["uce", "ecc", "lost"],
)
@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=() if p == "forward" else SLOW) for p in POINTS]
)
def test_a_chip_that_fails_is_not_taken_for_a_program_that_does(
    point: str, command: str, said: str, on_chips: str, tmp_path: Path
) -> None:
    ended = struck(tmp_path, strikes(command, point))
    assert ended.code == 0, ended.err
    assert f"worker 1 is lost, {said}" in ended.out
    assert set(ended.digests) == {on_chips}
    assert ended.steps == list(range(12))


@SLOW
@pytest.mark.parametrize("point", POINTS)
def test_a_chip_that_hangs_is_evicted(point: str, on_chips: str, tmp_path: Path) -> None:
    ended = struck(tmp_path, strikes("hang --chip 1", point))
    assert ended.code == 0, ended.err
    (evicted,) = ended.of("evicted")
    assert evicted["worker"] == 1
    assert evicted["reason"] in ("hangs in its own code", "hangs in its own device")
    assert set(ended.digests) == {on_chips}
    assert ended.steps == list(range(12))


@SLOW
@pytest.mark.parametrize("point", POINTS)
def test_a_link_between_chips_that_is_down_is_named(
    point: str, on_chips: str, tmp_path: Path
) -> None:
    ended = struck(tmp_path, strikes("link --down --between 1 2", point), workers=3)
    assert ended.code == 0, ended.err
    assert [event["text"] for event in ended.of("down")] == [
        "the link between workers 1 and 2 is down",
        "the link between workers 1 and 2 is down again",
    ]
    assert [event["worker"] for event in ended.of("evicted")] == [2]
    assert set(ended.digests) == {on_chips}
    assert ended.steps == list(range(12))


@SLOW
def test_a_bit_that_turns_silently_on_a_chip_is_found(on_chips: str, tmp_path: Path) -> None:
    fault: Fault = {"worker": 1, "step": 4, "at": "forward", "do": "flip-parameter"}
    ended = struck(tmp_path, fault, workers=3)
    assert ended.code == 0, ended.err
    assert [(event["worker"], event["guilty"]) for event in ended.of("evicted")] == [(1, True)]
    assert set(ended.digests) == {on_chips}
    assert ended.steps == list(range(12))


@SLOW
@pytest.mark.parametrize("point", ["forward", "reduce"])
def test_two_replicas_of_two_chips_lose_one_chip_and_no_bit(point: str, tmp_path: Path) -> None:
    program = (str(SMALL.with_name("sharded.py")), "--device", "npu")
    options = ("-n", "4", "--chip", "Ascend910B3", *WAITS)
    undisturbed = job(tmp_path / "plain", *program, options=options, environment=PLAIN)
    assert undisturbed.code == 0, undisturbed.err
    fault: Fault = {"worker": 1, "step": 4, "at": point}
    ended = job(tmp_path / "struck", *program, options=options, faults=(fault,), environment=PLAIN)
    assert ended.code == 0, ended.err
    assert ended.of("restart") == []
    assert set(ended.digests) == set(undisturbed.digests)
    assert ended.steps == list(range(12))
