"""`cordee plan calibrate` with what `vllm bench serve --save-result` writes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cordee.cli import cli
from cordee.core.errors import CordeeError
from cordee.hw import accelerators
from cordee.plan.calibration.benchmark import benchmark
from cordee.plan.calibration.serving_table import serving_calibration
from cordee.plan.calibration.table import kind_of
from cordee.plan.deployment import Deployment, Engine, Precision
from cordee.plan.model import named
from cordee.plan.serving.engines import engines
from cordee.plan.serving.traffic import Served, Traffic, serve

SCRIPT = "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 4\n"


def slower(traffic: Traffic) -> Served:
    """An engine that reads weights slower, and whose host is slower, than what is published."""
    chip, model = accelerators().find("910B3"), named("Qwen3-32B")
    known = serving_calibration().find(kind_of(chip, "vllm-ascend", model))
    truth = replace(known, stream=known.stream / 1.4, pass_s=known.pass_s + 5e-3)
    one = Deployment(
        model=model,
        chip=chip,
        precision=Precision(),
        engine=Engine(tensor=4),
        scheduling=engines()["vllm-ascend"],
    )
    return serve(one, traffic, truth)


def result(clients: int) -> dict[str, Any]:
    """As vLLM writes it."""
    traffic = Traffic(prompt=1024, answer=128, clients=clients, count=4 * clients)
    served = slower(traffic)
    return {
        "date": "20261129-080000",
        "backend": "openai",
        "model_id": "Qwen/Qwen3-32B",
        "num_prompts": 4 * clients,
        "request_rate": "inf",
        "max_concurrency": clients,
        "completed": 4 * clients,
        "total_input_tokens": 4 * clients * 1024,
        "total_output_tokens": 4 * clients * 128,
        "request_throughput": served.requests_per_s,
        "output_throughput": served.output_tokens_per_s,
        "mean_ttft_ms": served.mean_first_s * 1e3,
        "mean_tpot_ms": served.mean_between_s * 1e3,
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Benchmarks with few clients and many, and the script of the engine."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "serve.sh").write_text(SCRIPT)
    names = []
    for clients in (1, 8, 32):
        path = folder / f"bench-{clients}.json"
        path.write_text(json.dumps(result(clients)))
        names.append(str(path))
    return [*names, "--script", str(folder / "serve.sh"), "--chip", "910B3"]


def calibrate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", "calibrate", *arguments])


def test_three_benchmarks_bring_times_between_tokens_within_5_percent(files: list[str]) -> None:
    (found,) = json.loads(calibrate(*files, "--json").output)
    figures = [one for one in found["figures"] if one["metric"] == "TPOT"]
    assert [one["clients"] for one in figures] == [1, 8, 32]
    assert min(abs(one["before"] / one["measured"] - 1) for one in figures) > 0.1
    assert max(abs(one["after"] / one["measured"] - 1) for one in figures) < 0.05


def test_a_plan_is_made_with_ones_own_benchmarks(tmp_path: Path, files: list[str]) -> None:
    own = tmp_path / "own.toml"
    done = calibrate(*files, "--output", str(own))
    assert "ascend-910b vllm-ascend dense: TPOT off by" in done.output
    assert "bench-8.json, 8 clients: TTFT" in done.output
    arguments = ["plan", "serve", "Qwen3-32B", "--chip", "910B3", "--chips", "4"]
    plain, theirs = (
        json.loads(
            CliRunner().invoke(cli, [*arguments, "--dtype", "bf16", *more, "--json"]).output
        )["chips"][0]["plans"][0]["requests_per_s"]
        for more in ([], ["--calibration", str(own)])
    )
    assert theirs < plain


def test_clients_of_a_rate_are_those_under_way(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    given = result(8) | {"request_rate": 2.0, "max_concurrency": None, "num_prompts": 400}
    path.write_text(
        json.dumps(given | {"output_throughput": 256, "mean_ttft_ms": 500, "mean_tpot_ms": 20})
    )
    found = benchmark(path)
    assert found.clients == round(2 * (0.5 + 0.02 * 127))


def test_what_is_wrong_is_said(tmp_path: Path, files: list[str]) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(result(1) | {"mean_tpot_ms": 0}))
    for arguments, why in (
        ((str(path),), "give --script, the script that starts it, and --chip"),
        ((str(path), *files[3:]), "mean_tpot_ms = 0: a number above 0 is needed"),
    ):
        done = calibrate(*arguments)
        assert isinstance(done.exception, CordeeError), done.output
        assert why in str(done.exception)
