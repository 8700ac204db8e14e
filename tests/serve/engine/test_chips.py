"""Do the operators of PyTorch and of Ascend give the same logits, and the same bits, as they should?"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.engine.reference_models import FAMILIES

PROGRAM = str(Path(__file__).with_name("on_a_chip.py"))
ON_CHIP = (sys.executable, "-m", "cordee", "run", "--")


def told(models: Path, *arguments: str, under: tuple[str, ...] = ()) -> list[dict[str, object]]:
    run = subprocess.run(
        [*under, sys.executable, PROGRAM, str(models), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("table", "arguments", "most"),
    [
        ("torch", ("float32",), 1e-4),
        ("torch", ("float32", "int8"), 0.1),
        ("ascend", ("float16",), 0.01),
        pytest.param("ascend", ("bfloat16",), 0.1, marks=pytest.mark.slow),
        ("ascend", ("float16", "int8"), 0.1),
    ],
)
def test_every_family_runs_on_the_table_with_the_same_bits_in_every_batch(
    models: Path, table: str, arguments: tuple[str, ...], most: float
) -> None:
    found = told(models, table, *arguments, under=ON_CHIP if table == "ascend" else ())
    assert [entry["family"] for entry in found] == list(FAMILIES)
    assert all(entry["pieces"] and entry["together"] for entry in found)
    assert max(float(str(entry["far"])) for entry in found) < most
