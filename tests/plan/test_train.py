"""`cordee plan train`, as a user calls it."""

import re
from pathlib import Path

import pytest
from tests.plan.commands import Command

from cordee.core.errors import CordeeError

ASK = Command("train")
run, planned = ASK.run, ASK.planned


def test_two_kinds_of_chips_stand_side_by_side() -> None:
    done = run(
        "Llama-3.1-8B", "--chip", "A100", "--chip", "910B3", "--chips", "64", "--tokens", "1T"
    )
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert "A100-80-SXM" in lines[0]
    assert "910B3" in lines[0]
    shown = "\n".join(lines)
    for words in ("in 9 of 10 cases", "chips as fast as 64 A100-80-SXM", "no price known"):
        assert words in shown
    assert "slower:" in shown
    assert "export rules" in shown


def test_the_best_layout_comes_first_and_fits() -> None:
    (chip,) = planned("Qwen3-32B", "--chip", "910B2", "--chips", "128", "--top", "5")["chips"]
    speeds = [plan["tokens_per_s"] for plan in chip["plans"]]
    assert speeds == sorted(speeds, reverse=True)
    assert all(plan["memory_bytes"]["total"] < 64 * 2**30 for plan in chip["plans"])
    assert chip["plans"][0]["why_not_the_first"] is None
    assert "slower" in chip["plans"][1]["why_not_the_first"]
    assert chip["tokens_per_s_low"] < speeds[0] < chip["tokens_per_s_high"]


def test_the_parts_of_a_step_add_up_to_it() -> None:
    (chip,) = planned("Llama-2-7B", "--chip", "H100", "--chips", "16")["chips"]
    best = chip["plans"][0]
    assert sum(best["parts_s"].values()) == pytest.approx(best["step_s"], rel=1e-3)


def test_a_deadline_says_how_many_chips() -> None:
    arguments = ("Llama-3.1-8B", "--chip", "910B2", "--tokens", "2T", "--batch", "2048")
    (slow,), (quick,) = (planned(*arguments, "--deadline", days)["chips"] for days in ("120", "30"))
    assert slow["seconds"] <= 120 * 86400
    assert quick["seconds"] <= 30 * 86400
    chips = [found["plans"][0]["layout"]["chips"] for found in (slow, quick)]
    assert chips[1] > 3 * chips[0]
    (fewer,) = planned(*arguments, "--chips", str(chips[1] - 64))["chips"]
    assert fewer["seconds"] > 30 * 86400


def test_a_mixture_of_671_billion_parameters_is_spread_over_10000_chips() -> None:
    found = planned("DeepSeek-V3", "--chip", "910C", "--chips", "10000", "--tokens", "15T")
    (chip,) = found["chips"]
    assert chip["layouts_tried"] > 1000
    assert chip["plans"][0]["layout"]["chips"] > 9000
    assert chip["plans"][0]["layout"]["expert"] > 1


def test_a_price_of_the_users_own_gives_the_cost(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nchip = "910B2"\nkind = "rent"\nlow_usd = 1.0\nhigh_usd = 2.0\n'
        'date = "2026"\nsource = "an offer"\n'
    )
    arguments = ("Llama-2-7B", "--chip", "910B2", "--chips", "8", "--tokens", "1B")
    (chip,) = planned(*arguments, "--chips-file", str(prices))["chips"]
    low, high = chip["cost_usd"]
    assert low == pytest.approx(8 * chip["seconds"] / 3600)
    assert high == pytest.approx(2 * low)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ("--chips", "8"),
            "does not fit on 8 x 910B2: the leanest of .* needs .*; [0-9]+ x 910B2 hold it",
        ),
        (("--chips", "64", "--dtype", "fp8"), "910B2 does not multiply in fp8: --dtype one of"),
        (
            ("--chips", "64", "--dtype", "int8"),
            "nothing is trained in int8: --dtype one of fp16, bf16",
        ),
        ((), "give --chips, how many there are, or --deadline"),
        (("--deadline", "30"), "--deadline needs --tokens"),
        (("--chips", "64", "--tokens", "many"), "--tokens many: a number such as 15T"),
        (("--chips", "64", "--tokens", "nan"), "--tokens nan: above 0"),
        (("--chips", "4096", "--batch", "3"), "a batch of 3 sequences does not divide"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(arguments: tuple[str, ...], why: str) -> None:
    done = run("Llama-3.1-70B", "--chip", "910B2", *arguments)
    assert isinstance(done.exception, CordeeError)
    with pytest.raises(CordeeError, match=why):
        raise done.exception


def test_a_chip_without_published_results_is_called_an_extrapolation() -> None:
    done = run("Llama-3.1-8B", "--chip", "950DT", "--chips", "64", "--dtype", "fp8")
    assert done.exit_code == 0, done.output
    assert "an extrapolation" in done.output
    assert "announced" in done.output


def test_software_runs_the_schedules_that_it_has() -> None:
    ask = ("DeepSeek-V3", "--chips", "512", "--top", "400")
    (ascend,) = planned(*ask, "--chip", "910C")["chips"]
    (nvidia,) = planned(*ask, "--chip", "H100")["chips"]
    names = [{plan["layout"]["schedule"] for plan in one["plans"]} for one in (ascend, nvidia)]
    assert names == [{"1f1b", "dualpipev", "dualpipev-whole"}, {"1f1b"}]


def test_a_schedule_that_is_asked_for_is_tried_and_who_runs_it_is_said() -> None:
    done = run("Llama-3.1-70B", "--chip", "H100", "--chips", "64", "--schedule", "zb-v")
    assert done.exit_code == 0, done.output
    assert "zb-v DP" in done.output
    assert "megatron-bridge does not run zb-v; it is in: sail-sg" in done.output
    assert "TorchTitan" in done.output
    assert "hardly any published result has it" in done.output


def test_all_schedules_stand_in_one_ranking() -> None:
    ask = ("Llama-3.1-70B", "--chip", "H100", "--chips", "64", "--batch", "512", "--top", "2000")
    (chip,) = planned(*ask, "--schedule", "all")["chips"]
    found = {plan["layout"]["schedule"] for plan in chip["plans"]}
    assert {"1f1b", "zb-h1", "zb-h2", "zb-v", "dualpipe", "dualpipev"} <= found
    speeds = [plan["tokens_per_s"] for plan in chip["plans"]]
    assert speeds == sorted(speeds, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--schedule", "gpipe"), "schedule = 'gpipe': one of 1f1b, zb-h1"),
        (("--schedule", "dualpipe", "--batch", "3"), "no pipeline of 64 chips runs by dualpipe"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(arguments: tuple[str, ...], why: str) -> None:
    assert why in ASK.refused("Llama-3.1-70B", "--chip", "H100", "--chips", "64", *arguments)


@pytest.mark.parametrize("asked", [("Mixtral-8x22B", "910B3", "8"), ("Llama-2-7B", "RTX4090", "1")])
def test_as_many_chips_as_are_named_hold_what_does_not_fit(asked: tuple[str, str, str]) -> None:
    model, chip, chips = asked
    why = ASK.refused(model, "--chip", chip, "--chips", chips)
    more = re.search(rf"; (\d+) x {chip} hold it$", why)
    assert more, why
    assert planned(model, "--chip", chip, "--chips", more[1])["chips"]


def test_where_no_number_of_chips_holds_it_that_is_said() -> None:
    why = ASK.refused("Qwen3-0.6B", "--chip", "910B3", "--chips", "8", "--sequence", "500000000")
    assert why.endswith("no number of chips holds it: shorter sequences may")


def test_beside_a_chip_that_has_the_dtype_others_are_reckoned_in_the_nearest() -> None:
    found = planned(
        *("Qwen3-8B", "--chip", "H100", "--chip", "910B3", "--chip", "950DT"),
        *("--chips", "16", "--dtype", "fp8"),
    )
    assert "910B3 does not multiply in fp8: reckoned in bf16" in found["remarks"]
    assert not any(remark.startswith("950DT does not multiply") for remark in found["remarks"])


@pytest.mark.parametrize("sequence", ["1", "4095"])
def test_a_sequence_may_have_any_length(sequence: str) -> None:
    assert planned("Qwen3-0.6B", "--chip", "910B3", "--chips", "8", "--sequence", sequence)["chips"]


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--sequence", "0", "0 is not in the range"),
        ("--top", "0", "0 is not in the range"),
        ("--report", "/no/such/page.html", "folder '/no/such' does not exist"),
        ("--write-script", "/no/such/train.sh", "folder '/no/such' does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_search(option: str, value: str, why: str) -> None:
    done = run("Qwen3-0.6B", "--chip", "910B3", "--chips", "8", option, value)
    assert done.exit_code
    assert why in done.output + str(done.exception)


def test_a_deadline_that_no_number_of_chips_meets_is_answered_with_what_the_quickest_take() -> None:
    arguments = ("Qwen3-0.6B", "--chip", "910B3", "--tokens", "10T", "--batch", "256")
    why = ASK.refused(*arguments, "--deadline", "0.02")
    days = re.search(r"and they take ([0-9.,e+]+) days", why)
    assert days, why
    later = str(float(days[1].replace(",", "")) * 1.1)
    assert planned(*arguments, "--deadline", later)["chips"]


def test_a_small_run_takes_no_more_chips_than_it_needs() -> None:
    (chip,) = planned("GPT-2", "--chip", "910B3", "--tokens", "10B", "--deadline", "30")["chips"]
    assert chip["plans"][0]["layout"]["chips"] == 1


def test_weights_are_not_shared_out_over_a_single_chip() -> None:
    (chip,) = planned("GPT-2", "--chip", "910B3", "--chips", "1", "--top", "99")["chips"]
    assert {plan["layout"]["zero"] for plan in chip["plans"]} == {1}


@pytest.mark.parametrize(
    ("chip", "option"),
    [("H100", "overlap_moe_expert_parallel_comm"), ("910C", "--moe-fb-overlap")],
)
def test_what_hides_the_way_to_experts_is_said(chip: str, option: str) -> None:
    asks = ("Qwen3-30B-A3B", "--chip", chip, "--chips", "64", "--schedule", "1f1b")
    done = run(*asks)
    assert done.exit_code == 0, done.output
    assert "tokens travel to experts beside other work" in done.output
    assert option in done.output
