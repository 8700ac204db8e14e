"""Does each worker get a chip of its own, of those that its user was given, and are wishes refused that cannot be met?"""

from glob import glob
from pathlib import Path

import pytest
import torch
from tests.train.jobs import SMALL, job

from cordee.train.devices import one_chip, variables


def test_a_worker_sees_one_chip_of_whatever_kind() -> None:
    assert one_chip(3, {}) == {"ASCEND_RT_VISIBLE_DEVICES": "3", "CUDA_VISIBLE_DEVICES": "3"}


def test_chips_are_those_that_the_user_was_given() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "4,GPU-7f3a,6"}
    assert one_chip(1, given)["CUDA_VISIBLE_DEVICES"] == "GPU-7f3a"
    assert one_chip(1, given)["ASCEND_RT_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-n", "2", "--chips", "4"), "--chips 4: there are fewer in CUDA_VISIBLE_DEVICES=0,1"),
        (
            ("-n", "2", "--spares", "1", "--chips", "2"),
            "--chips 2: 3 workers, with spares, need one each",
        ),
    ],
    ids=["given", "wanted"],
)
def test_chips_that_are_not_there_are_refused(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, options=options, environment={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert (ended.code, ended.err) == (2, f"error: {said}\n")


@pytest.mark.skipif(bool(glob("/dev/nvidia[0-9]*") + glob("/dev/davinci*")), reason="has chips")
def test_a_computer_without_chips_says_so(tmp_path: Path) -> None:
    ended = job(tmp_path, options=("-n", "2", "--chips", "2"))
    assert ended.code == 2
    assert ended.err.startswith("error: --chips 2: this computer has none: no /dev/davinci[0-9]*, ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_mesh_of_gpus_is_refused_where_there_is_none(tmp_path: Path) -> None:
    program = tmp_path / "wide.py"
    program.write_text('import cordee.train as ct\nct.mesh(data=2, device="cuda")\n')
    ended = job(tmp_path / "job", str(program), options=("-n", "2"))
    assert ended.code == 1
    assert "ct.mesh(device='cuda'): PyTorch finds no such device here" in ended.err


def test_workers_find_how_nccl_is_to_treat_failures(tmp_path: Path) -> None:
    program = tmp_path / "shown.py"
    first = "    training = ct.Training("
    shown = (
        "    import os\n    print(*(os.environ[n] for n in ('TORCH_NCCL_ASYNC_ERROR_HANDLING',)))\n"
    )
    program.write_text(SMALL.read_text().replace(first, shown + first))
    ended = job(tmp_path / "job", str(program), "--steps", "2", options=("-n", "1"))
    assert ended.code == 0, ended.err
    assert (tmp_path / "job" / "worker-0.log").read_text().startswith("0\n")
    assert variables()["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "0"
