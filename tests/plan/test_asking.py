"""Plans from Python: what the documentation shows, and the same answers as the commands."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cordee.cli import cli
from cordee.core.errors import UsageError
from cordee.plan import serve, train

DOCS = Path(__file__).parents[2] / "docs" / "plan.md"


def said(*arguments: str) -> object:
    done = CliRunner().invoke(cli, ["plan", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)["chips"]


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, second, between = done.stdout.splitlines()
    assert re.fullmatch(r"A100-80-SXM TP\d.* [\d.]+ days", first)
    assert re.fullmatch(r"910B3 TP\d.* [\d.]+ days", second)
    assert 0.001 < float(between) < 0.05
    assert "Train Llama-2-7B" in (tmp_path / "plan.html").read_text("utf-8")
    assert "Serve Qwen3-8B: 910B3" in (tmp_path / "service.html").read_text("utf-8")


def test_training_is_answered_as_by_the_command() -> None:
    found = train("Llama-2-7B", "910B3", chips=8, tokens=20e9).data()
    asked = said("train", "Llama-2-7B", "--chip", "910B3", "--chips", "8", "--tokens", "20B")
    assert json.loads(json.dumps(found["chips"])) == asked


def test_a_service_is_answered_as_by_the_command() -> None:
    found = serve("Qwen3-8B", ["H100", "910B3"], chips=1).data()
    asked = said("serve", "Qwen3-8B", "--chip", "H100", "--chip", "910B3", "--chips", "1")
    assert json.loads(json.dumps(found["chips"])) == asked


def test_what_is_missing_is_said() -> None:
    with pytest.raises(UsageError, match="--chips, how many there are, or --deadline"):
        train("Llama-2-7B", "910B3")
    with pytest.raises(UsageError, match="--chips, how many there are, or --rate"):
        serve("Qwen3-8B", "910B3")


def test_a_schedule_is_asked_for_as_in_the_command() -> None:
    found = train("Llama-2-7B", "A100", chips=16, batch=128, schedule=["zb-v", "zb-h1"])
    (outcome,) = found.outcomes
    assert {plan.job.layout.schedule for plan in outcome.plans} == {"zb-v", "zb-h1"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"chips": 0}, "--chips 0: 1 or more"),
        ({"chips": 8, "batch": -3}, "--batch -3: 1 or more"),
        ({"chips": 8, "sequence": 0}, "--sequence 0: 1 or more"),
        ({"chips": 8, "tokens": float("nan")}, "--tokens nan: above 0"),
        ({"tokens": 1e9, "deadline": -1}, "--deadline -1: days, above 0"),
    ],
)
def test_a_run_that_cannot_be_is_refused_as_by_the_command(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        train("GPT-2", "910B3", **given)


def test_a_service_on_no_chips_is_refused() -> None:
    with pytest.raises(UsageError, match="--chips 0: 1 or more"):
        serve("GPT-2", "910B3", chips=0)
    for plan in (train, serve):
        with pytest.raises(UsageError, match="at least one kind of chip"):
            plan("GPT-2", [], chips=1)
