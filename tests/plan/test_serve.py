"""`cordee plan serve`, as a user calls it."""

import re
from pathlib import Path

import pytest
from tests.plan.commands import Command

from cordee.core.errors import CordeeError
from cordee.hw.accelerator import accelerators
from cordee.plan.calibration.serving_table import ServingCalibrations
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.service.compare import family_of

ASK = Command("serve")
run, planned = ASK.run, ASK.planned


def test_today_on_nvidia_stands_beside_tomorrow_on_ascend() -> None:
    done = run("Qwen3-32B", "--chip", "H100", "--chip", "910B3", "--rate", "10")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert "H100-SXM" in lines[0]
    assert "910B3" in lines[0]
    for words in (
        "vllm-ascend w8a8",
        "ms to the first token",
        "in 9 of 10 cases",
        "USD per million tokens",
        "no price known",
        "chips for as much as",
        "why not the first",
        "export rules",
    ):
        assert words in done.output


def test_the_best_layout_comes_first_and_stays_within_the_limits() -> None:
    (chip,) = planned("Qwen3-32B", "--chip", "910B3", "--chips", "8")["chips"]
    first, *others = chip["plans"]
    assert first["within_limits"]
    assert first["ttft_s"]["p90"] <= 2.0
    assert first["tpot_s"]["p90"] <= 0.05
    assert first["ttft_s"]["p50"] <= first["ttft_s"]["p90"] <= first["ttft_s"]["p99"]
    assert first["why_not_the_first"] is None
    assert all(other["why_not_the_first"] for other in others)
    memory = first["memory_bytes"]
    assert sum(memory.values()) == pytest.approx(0.9 * 64 * 2**30)
    assert first["layout"]["tensor"] * first["copies"] <= 8


def test_twice_the_rate_takes_about_twice_the_chips() -> None:
    few, many = (
        planned("Qwen3-8B", "--chip", "910C", "--rate", rate)["chips"][0]["plans"][0]["chips"]
        for rate in ("20", "200")
    )
    assert 6 * few < many < 14 * few


def test_a_tight_limit_takes_more_chips() -> None:
    arguments = ("Llama-3.1-70B", "--chip", "H100", "--rate", "5")
    loose, tight = (
        planned(*arguments, "--tpot", limit)["chips"][0]["plans"][0]["chips"]
        for limit in ("60", "18")
    )
    assert tight > loose


def test_a_large_mixture_is_spread_wide_with_prompts_read_apart_or_not() -> None:
    (chip,) = planned("DeepSeek-V3", "--chip", "910C", "--rate", "30", "--prompt", "2048")["chips"]
    layout = chip["plans"][0]["layout"]
    assert layout["tensor"] * layout["data"] * layout["pipeline"] >= 16
    assert chip["layouts_that_fit"] < chip["layouts_tried"]


def test_guessing_tokens_serves_more() -> None:
    arguments = ("Qwen3-32B", "--chip", "910B2", "--chips", "8", "--tpot", "25")
    plain = planned(*arguments)["chips"][0]["plans"][0]
    guessing = planned(*arguments, "--drafts", "2", "--acceptance", "0.7")["chips"][0]["plans"][0]
    assert guessing["most_requests_per_s"] > plain["most_requests_per_s"]


def test_a_price_of_the_users_own_gives_the_cost_of_a_million_tokens(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nchip = "910B3"\nkind = "rent"\nlow_usd = 1.0\nhigh_usd = 2.0\n'
        'date = "2026"\nsource = "an offer"\n'
    )
    arguments = ("Qwen3-8B", "--chip", "910B3", "--chips", "4", "--chips-file", str(prices))
    (chip,) = planned(*arguments)["chips"]
    low, high = chip["usd_per_million_tokens"]
    plan = chip["plans"][0]
    assert low == pytest.approx(plan["chips"] * 1e6 / plan["tokens_per_s"] / 3600)
    assert high == pytest.approx(2 * low)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--chip", "910B3"), "give --chips, how many there are, or --rate"),
        (
            ("--chip", "910B3", "--chips", "1", "--dtype", "bf16"),
            "in bf16 does not fit on TP1 of 910B3: a chip needs .* GiB for weights.* would hold it",
        ),
        (("--chip", "910B3", "--chips", "8", "--dtype", "fp8"), "910B3 does not multiply in fp8"),
        (
            ("--chip", "910B3", "--chips", "8", "--tpot", "1"),
            "no layout gives a token every 1 ms .* the quickest, .* give --tpot",
        ),
        (("--chip", "910B3", "--chips", "8", "--cached", "1"), "--cached 1.0: a part of prompts"),
        (("--chip", "910B3", "--chips", "8", "--prompt", "0"), "--prompt 0: 1 token or more"),
        (("--chip", "910X", "--chips", "8"), "910X: no such chip"),
        (
            ("--chip", "910B3", "--chips", "8", "--cache", "fp8"),
            "910B3 keeps no keys and values in fp8: --cache int8 or bf16",
        ),
        (
            ("--chip", "910B3", "--chips", "8", "--acceptance", "0.5"),
            "--acceptance needs --drafts",
        ),
        (
            ("--chip", "910B3", "--chips", "8", "--answer", "900000000"),
            "no number of chips tried holds it: shorter requests may fit",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(arguments: tuple[str, ...], why: str) -> None:
    done = run("Llama-3.1-70B", *arguments)
    assert isinstance(done.exception, CordeeError), done.output
    with pytest.raises(CordeeError, match=why):
        raise done.exception


@pytest.mark.parametrize("option", ["--rate", "--ttft", "--tpot", "--cached", "--acceptance"])
def test_what_is_no_number_is_none(option: str) -> None:
    done = run("Llama-3.1-70B", "--chip", "910B3", option, "nan")
    assert done.exit_code == 2
    assert f"'{option}': nan is no finite number" in done.output


def test_the_latest_version_of_an_engine_counts_by_its_numbers() -> None:
    chip = accelerators().find("B300-SXM")
    names = [f"B300-SXM/sglang {version}/GLM-5" for version in ("0.5.9", "0.5.10.post1", "nightly")]
    known = ServingCalibrations(families=dict.fromkeys(names, ServingCalibration()))
    assert family_of(known, chip, "sglang", "GLM-5") == names[1]
    assert family_of(known, chip, "vllm", "GLM-5") == ""


def test_as_many_chips_as_are_named_hold_what_does_not_fit() -> None:
    why = ASK.refused("Kimi-K2", "--chip", "910C", "--chips", "8")
    more = re.search(r"; (\d+) x 910C would hold it", why)
    assert more, why
    assert planned("Kimi-K2", "--chip", "910C", "--chips", more[1])["chips"]


def test_of_more_requests_than_are_served_no_more_tokens_are_given_than_fit() -> None:
    found = planned("Qwen3-8B", "--chip", "910B3", "--chips", "1", "--rate", "50")
    plan = found["chips"][0]["plans"][0]
    assert plan["tokens_per_s"] < 10 * 512
    assert any("the queue grows" in remark for remark in found["remarks"])


def test_beside_a_chip_that_has_the_dtype_others_get_the_nearest() -> None:
    found = planned(
        *("Qwen3-8B", "--chip", "H100", "--chip", "910B3", "--chips", "1"),
        *("--dtype", "fp8", "--cache", "fp8"),
    )
    kept = [(chip["dtype"], chip["cache_dtype"]) for chip in found["chips"]]
    assert kept == [("fp8", "fp8"), ("w8a8", "int8")]


def test_weights_of_copies_that_read_prompts_stand_before_a_plus() -> None:
    shown = run("Qwen3-32B", "--chip", "910B3", "--chips", "8").output
    assert re.search(r"layout +\d x TP1 \+ 1 x TP4", shown), shown
    assert re.search(r"weights of a chip +32.3 \+ 8.1 of 64 GiB", shown), shown


def test_a_rate_that_is_assumed_is_said() -> None:
    found = planned("Qwen3-0.6B", "--chip", "Kunlun-P800", "--chips", "1")
    assert any("no source gives the rate of its memory" in one for one in found["remarks"])


def test_room_for_tokens_is_that_of_whole_requests_where_layers_keep_a_state() -> None:
    found = planned("Qwen3-Next-80B-A3B", "--chip", "910B3", "--chips", "8", "--tpot", "300")
    plan = found["chips"][0]["plans"][0]
    # 12 layers of 48 keep 2 x 2 heads of 256 numbers of 2 bytes; the rest a state for each request.
    per_token = 12 * 2 * 2 * 256 * 2
    most = 8 * plan["memory_bytes"]["cache"] / per_token
    assert 0.02 * most < plan["tokens_kept"] < most


def test_where_none_stays_within_the_limits_the_nearest_is_shown() -> None:
    found = planned("Qwen3-Next-80B-A3B", "--chip", "910B3", "--chips", "8", "--top", "6")
    plans = found["chips"][0]["plans"]
    within = [plan["within_limits"] for plan in plans]
    assert within == sorted(within, reverse=True)
    over = [
        max(plan["ttft_s"]["p90"] / 2.0, plan["tpot_s"]["p90"] / 0.05)
        for plan in plans
        if not plan["within_limits"]
    ]
    assert over == sorted(over)


def test_what_is_within_the_limits_by_formula_is_so_in_the_simulation_too() -> None:
    found = ASK.planned("Qwen3-Next-80B-A3B", "--chip", "910B3", "--chips", "8")
    best = found["chips"][0]["plans"][0]
    assert best["tpot_s"]["p90"] <= 0.05
    assert best["ttft_s"]["p90"] <= 2.0
