"""Does a job on GPUs go on through NCCL, whatever becomes of a worker? Runs where there are three of them."""

from pathlib import Path

import pytest
import torch
from tests.train.jobs import SMALL, Ended, Fault, job

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 3, reason="needs three GPUs")
WAITS = ("--silent-s", "15", "--hang-s", "15")
PROGRAM = (str(SMALL), "--device", "cuda", "--steps", "12")
POINTS = ("forward", "backward", "reduce", "vote", "voted", "apply")


@pytest.fixture(scope="module")
def on_gpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the parameters after a job on GPUs to which nothing happened."""
    ended = struck(tmp_path_factory.mktemp("gpus"))
    assert len(set(ended.digests)) == 1
    return ended.digests[0]


def struck(folder: Path, *faults: Fault, workers: int = 2, mode: str = "exact") -> Ended:
    chips = ("--spares", "1", "--chips", str(workers + 1)) if workers < 3 else ("--chips", "3")
    options = ("-n", str(workers), "--mode", mode, *chips, *WAITS)
    ended = job(folder, *PROGRAM, options=options, faults=faults)
    assert ended.code == 0, ended.err
    assert ended.steps == list(range(12))
    return ended


@pytest.mark.parametrize("do", ["kill", "stop"])
@pytest.mark.parametrize("point", POINTS)
def test_a_lost_worker_costs_no_step_and_no_bit(
    point: str, do: str, on_gpus: str, tmp_path: Path
) -> None:
    ended = struck(tmp_path, {"worker": 1, "step": 4, "at": point, "do": do})
    assert [event["worker"] for event in ended.of("lost")] == [1]
    assert set(ended.digests) == {on_gpus}


def test_a_bit_that_turns_silently_is_found(on_gpus: str, tmp_path: Path) -> None:
    fault: Fault = {"worker": 1, "step": 4, "at": "forward", "do": "flip-parameter"}
    ended = struck(tmp_path, fault, workers=3)
    assert [(event["worker"], event["guilty"]) for event in ended.of("evicted")] == [(1, True)]
    assert set(ended.digests) == {on_gpus}


def test_in_fast_mode_all_members_end_alike(tmp_path: Path) -> None:
    ended = struck(tmp_path, {"worker": 1, "step": 4, "at": "reduce"}, mode="fast")
    assert len(set(ended.digests)) == 1
