"""What `cordee plan goodput` says, and how it refuses."""

import json

import pytest
from click.testing import CliRunner

from cordee.plan.cli import plan
from cordee.plan.goodput.rates import PARTS, published, rates, sets


def run(*words: str) -> str:
    done = CliRunner().invoke(plan, ["goodput", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_it_says_what_a_fast_recovery_is_worth() -> None:
    found = run("--chips", "16384", "--chip", "H100", "--days", "10")
    assert "one strikes the 16,384 every 3.1 h" in found
    assert "in-place instead of restart is worth" in found


def test_a_machine_reads_the_same() -> None:
    words = ("--chips", "8192", "--chip", "910B3", "--days", "5", "--json", "--spares", "1%")
    found = json.loads(run(*words, "--recovery", "in-place:1s", "--recovery", "restart:10min"))
    first, second = found["answers"]
    assert first["recovery"]["resume_s"] == 1
    assert second["recovery"]["notice_s"] + second["recovery"]["resume_s"] == 600
    assert first["goodput"] > second["goodput"]
    assert found["cluster"]["spare_chips"] == 80


def test_a_model_brings_its_layout() -> None:
    found = run("Llama-3.1-70B", "--chips", "1024", "--chip", "910B2", "--days", "3")
    assert found.startswith("TP")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recovery", "magic"), "one of in-place, restart"),
        (("--checkpoint", "often"), "a time such as 30s"),
        (("--rate", "3"), "above 0 and below 1"),
        (("--rate", "mine"), "or one of low, typical, high"),
        (("--spares", "some"), "a number of nodes, or a share"),
        (("--spares", "nan"), "a number of nodes, or a share"),
        (("--spares", "-2%"), "a number of nodes, or a share"),
        (("--step", "0s"), "longer than nothing"),
        (("--replica", "3000"), "would be"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_way_out(words: tuple[str, ...], said: str) -> None:
    from cordee.core.errors import UsageError

    with pytest.raises(UsageError, match=said):
        run("--chips", "4096", "--chip", "H100", *words)


def test_the_rates_of_llama_3_are_those_of_419_interruptions() -> None:
    found = rates("llama3", "hopper")
    assert found.total * 16384 * 54 * 24 == pytest.approx(419)
    assert set(found.by_part) == set(PARTS)


def test_where_sources_disagree_both_can_be_chosen() -> None:
    low, high = rates("low", "ampere"), rates("high", "ampere")
    assert high.total > 8 * low.total
    assert {"rsc-1", "rsc-2", "aegis-a100"} <= set(sets())


def test_what_is_recalled_is_said_to_be() -> None:
    assert any("recalled" in remark for remark in rates("opt-175b", "ampere").remarks)
    assert {rate.checked for rate in published()} == {"opened", "second", "recalled"}
