"""Does a job on virtual Ascend chips go on through the real ProcessGroupHCCL?"""

from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Fault, job

CHIPS = ("-n", "2", "--spares", "1", "--chip", "Ascend910B3", "--silent-s", "15", "--hang-s", "15")


@pytest.mark.parametrize("point", ["reduce", pytest.param("forward", marks=pytest.mark.slow)])
def test_a_killed_worker_costs_no_step_and_no_bit_on_chips(point: str, tmp_path: Path) -> None:
    program = (str(SMALL), "--device", "npu", "--steps", "12")
    plain = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}
    undisturbed = job(tmp_path / "plain", *program, options=CHIPS, environment=plain)
    assert undisturbed.code == 0, undisturbed.err
    fault: Fault = {"worker": 1, "step": 4, "at": point}
    ended = job(tmp_path / "struck", *program, options=CHIPS, faults=(fault,), environment=plain)
    assert ended.code == 0, ended.err
    assert len(ended.of("lost")) == 1
    assert set(ended.digests) == set(undisturbed.digests)
    assert ended.steps == list(range(12))


@pytest.mark.slow
@pytest.mark.parametrize("point", ["forward", "reduce"])
def test_two_replicas_of_two_chips_lose_one_chip_and_no_bit(point: str, tmp_path: Path) -> None:
    program = (str(SMALL.with_name("sharded.py")), "--device", "npu")
    plain = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}
    options = ("-n", "4", *CHIPS[4:])
    undisturbed = job(tmp_path / "plain", *program, options=options, environment=plain)
    assert undisturbed.code == 0, undisturbed.err
    fault: Fault = {"worker": 1, "step": 4, "at": point}
    ended = job(tmp_path / "struck", *program, options=options, faults=(fault,), environment=plain)
    assert ended.code == 0, ended.err
    assert ended.of("restart") == []
    assert set(ended.digests) == set(undisturbed.digests)
    assert ended.steps == list(range(12))
