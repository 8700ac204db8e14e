"""Do the Trainers of Hugging Face and Lightning go on when workers fall, and do others take their place?"""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.train.jobs import Fault, job

PROGRAMS = Path(__file__).parents[1] / "programs"
DIGEST = re.compile(r"^digest (\w+) (\S+) (\d+)", re.M)


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "steps", "saved"),
    [
        pytest.param("trainer.py", 30, "checkpoint-30", marks=needs("accelerate")),
        pytest.param("lit.py", 60, "*/epoch=2-step=60.ckpt", marks=needs("lightning")),
    ],
)
def test_workers_that_die_cost_no_step_and_others_come_to_the_same_parameters(
    program: str, steps: int, saved: str, tmp_path: Path
) -> None:
    faults: tuple[Fault, ...] = (
        {"worker": 1, "step": 2, "at": "reduce"},
        {"worker": 0, "step": 4, "at": "forward"},
    )
    words = (str(PROGRAMS / program), str(tmp_path / "saved"), "0.5")
    ended = job(tmp_path / "job", *words, options=("-n", "3", "--spares", "1"), faults=faults)
    assert ended.code == 0, ended.err
    assert ended.steps == list(range(steps))
    found = [
        d for log in ended.folder.glob("worker-*.log") for d in DIGEST.findall(log.read_text())
    ]
    assert len(found) == 3
    assert len(set(found)) == 1
    assert float(found[0][1]) > 0.8
    assert int(found[0][2]) == steps
    assert len(list((tmp_path / "saved").glob(saved))) == 1
