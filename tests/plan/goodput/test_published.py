"""Published long runs beside what the planner says of them."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cordee.core.errors import UsageError
from cordee.plan.cli import plan
from cordee.plan.goodput.published import Beside, runs


def _of(name: str, **predicted: float) -> Beside:
    run = next(run for run in runs() if run.name.startswith(name))
    return Beside(run=run, simulated=None, least=0.0, most=0.0, **predicted)


def test_llama_3_is_predicted_within_what_was_published() -> None:
    done = CliRunner().invoke(plan, ["validate", "--goodput", "--json"], catch_exceptions=False)
    found = {one["run"]["name"]: one for one in json.loads(done.output)}
    llama = found["Llama 3 405B, 54 days: time that counts"]
    assert llama["error"] == 0
    assert 0.90 < llama["predicted"] < 0.92
    assert llama["simulated"] == pytest.approx(llama["predicted"], abs=0.01)
    assert llama["least"] < llama["predicted"] < llama["most"]
    assert set(llama["run"]["assumed"]) == {"notice_s", "resume_s", "every_s", "write_s"}


def test_an_error_counts_from_the_nearest_bound() -> None:
    assert _of("RSC-1, the largest", predicted=0.95).error == pytest.approx(0.05)
    assert _of("RSC-1, the largest", predicted=0.87).error == 0
    assert _of("RSC-1, the largest", predicted=0.80).error == pytest.approx(-0.05)
    assert _of("OPT-175B", predicted=27.4).error == pytest.approx(1.0)


def test_what_is_assumed_must_be_an_input() -> None:
    with pytest.raises(UsageError, match="assumed = "):
        replace(runs()[0], assumed=["mood"])
