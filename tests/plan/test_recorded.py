"""Requests that really came, as input of `cordee plan serve`."""

import json
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from cordee.cli import cli
from cordee.core.errors import UsageError
from cordee.plan.serving.recorded import recording

GATEWAY = {"kind": "request", "tokens_in": 700, "tokens_out": 90, "duration_s": 4.0}


def written(path: Path, *lines: object) -> Path:
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


def test_a_gateways_log_says_when_requests_came_though_it_is_written_when_they_end(
    tmp_path: Path,
) -> None:
    log = written(
        tmp_path / "log.jsonl",
        {"time_s": 1777629600.0, "kind": "service-ready"},
        {"time_s": 1777629605.0, **GATEWAY},
        {"time_s": 1777629606.0, **GATEWAY, "duration_s": 1.0, "tokens_out": 30},
        {"time_s": 1777629607.0, **GATEWAY, "tokens_in": None, "tokens_out": 0},
    )
    found = recording(log)
    assert [one.arrival_s for one in found.requests] == pytest.approx([0, 4])
    assert (found.prompt, found.answer, found.longest) == (700, 60, 790)
    assert "1 lines have no tokens" in found.words


@pytest.mark.parametrize(
    "lines",
    [
        [
            {"timestamp": 0, "input_length": 10, "output_length": 5, "hash_ids": []},
            {"timestamp": 2500, "input_length": 10, "output_length": 5, "hash_ids": []},
        ],
        [
            "TIMESTAMP,ContextTokens,GeneratedTokens",
            "2023-11-16 18:17:03.9799600,10,5",
            "2023-11-16 18:17:06.4799600,10,5",
        ],
        ["Timestamp,Model,Request tokens,Response tokens", "5,ChatGPT,10,5", "7.5,ChatGPT,10,5"],
        [
            {"timestamp": 1.0, "prompt_tokens": 10, "answer_tokens": 5},
            {"timestamp": 3.5, "prompt_tokens": 10, "answer_tokens": 5},
        ],
    ],
    ids=["Mooncake", "Azure", "BurstGPT", "plain"],
)
def test_public_traces_are_read_each_with_its_own_clock(
    tmp_path: Path, lines: list[object]
) -> None:
    found = recording(written(tmp_path / "trace", *lines))
    assert [(one.prompt, one.answer) for one in found.requests] == [(10, 5)] * 2
    assert found.requests[1].arrival_s == pytest.approx(2.5, abs=1e-5)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no line has a request"),
        ([{"when": 1, "tokens": 2}], "lines have when, tokens; known are"),
        (['{"timestamp": 1,'], "line 1: no JSON"),
        ([{"timestamp": 1, "prompt_tokens": 3, "answer_tokens": 3}], "two requests at least"),
        ([{"timestamp": "noon", "prompt_tokens": 3, "answer_tokens": 3}], "request 1: .*noon"),
    ],
)
def test_what_is_no_trace_is_named(tmp_path: Path, lines: list[object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recording(written(tmp_path / "trace.jsonl", *lines))


def test_a_copy_gets_its_share_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    lines = [{"timestamp": n, "prompt_tokens": n + 1, "answer_tokens": 9} for n in range(101)]
    part = recording(written(tmp_path / "trace.jsonl", *lines)).part(4.0, 2.0)
    assert [one.prompt for one in part[:3]] == [1, 5, 9]
    assert [one.arrival_s for one in part[:3]] == pytest.approx([0, 2, 4])
    assert len(part) == 26


def test_bursts_cost_more_than_the_same_requests_one_after_another(tmp_path: Path) -> None:
    dice = Random(0)
    even = [
        {"timestamp": n / 5, "prompt_tokens": 1500, "answer_tokens": dice.randint(50, 300)}
        for n in range(600)
    ]
    bursts = [{**line, "timestamp": n // 60 * 12} for n, line in enumerate(even)]
    found = []
    for name, lines in (("even", even), ("bursts", bursts)):
        path = written(tmp_path / f"{name}.jsonl", *lines)
        words = ["Qwen3-32B", "--chip", "910B3", "--trace", str(path), "--chips", "8", "--json"]
        done = CliRunner().invoke(cli, ["plan", "serve", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        told = json.loads(done.output)
        assert told["prompt"] == 1500
        assert any("600 requests as plain records them" in remark for remark in told["remarks"])
        found.append(told["chips"][0]["plans"][0]["ttft_s"]["p90"])
    assert found[1] > 1.5 * found[0]
