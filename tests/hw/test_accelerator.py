"""The catalogue of every maker's chips, and a user's own file beside it."""

from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.hw import accelerators, chips

CATALOGUE = accelerators()

OWN = """
[[chip]]
name = "910X"
maker = "Huawei"
flops_per_s = { bf16 = 1e15 }
memory_bytes = 137438953472
checked = "opened"
source = "an offer"

[[price]]
chip = "910B2"
kind = "rent"
low_usd = 1.0
high_usd = 1.5
date = "2026"
source = "an offer"
"""


@pytest.mark.parametrize("name", ["A100", "a100-80gb", "H100", "910C", "Ascend910B3", "A3"])
def test_a_chip_answers_to_its_names_in_any_case(name: str) -> None:
    assert CATALOGUE.find(name).memory_bytes > 0


def test_an_unknown_chip_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"H101: no such chip.*Did you mean H\d00-SXM\?"):
        CATALOGUE.find("H101")


def test_a_chip_that_does_not_know_a_dtype_says_which_it_knows() -> None:
    with pytest.raises(UsageError, match="A100-80-SXM does not multiply in fp8; it does in fp32"):
        CATALOGUE.find("A100").peak_flops_per_s("fp8")


def test_the_emulator_and_the_planner_know_the_same_chips() -> None:
    emulated = {chip.soc_name: chip for chip in chips()}
    for known in CATALOGUE.accelerators:
        if known.soc_name:
            chip = emulated[known.soc_name]
            assert known.memory_bytes == chip.memory_bytes
            for mine, theirs in (
                (known.memory_bytes_per_s, chip.memory_bytes_per_s),
                (known.flops_per_s.get("fp16"), chip.fp16_flops_per_s),
                (known.flops_per_s.get("int8"), chip.int8_ops_per_s),
            ):
                assert theirs is None or mine == pytest.approx(theirs)


def test_every_row_about_a_chip_names_one_that_there_is() -> None:
    names = {chip.name for chip in CATALOGUE.accelerators}
    assert {row.chip for row in (*CATALOGUE.disagreements, *CATALOGUE.prices)} <= names


def test_a_user_adds_a_chip_and_a_price(tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(OWN)
    extended = CATALOGUE.extended(file)
    assert extended.find("910x").peak_flops_per_s("bf16") == 1e15
    price = extended.price(extended.find("910B2"), "rent")
    assert price
    assert (price.low_usd, price.high_usd) == (1.0, 1.5)


def test_a_price_of_an_unknown_chip_is_refused_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(OWN.replace('chip = "910B2"', 'chip = "910B"'))
    with pytest.raises(
        UsageError, match=r"ours\.toml: 910B: write it as the catalogue does: 910B2"
    ):
        CATALOGUE.extended(file)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("memory_bytes = 137438953472", "memory_bytes = 0", "above 0"),
        ("bf16 = 1e15", "fp12 = 1e15", "fp12"),
        ("bf16 = 1e15", 'bf16 = "fast"', "flops_per_s = .*: a table with a number for each name"),
        ("bf16 = 1e15", "bf16 = -1e15", "bf16 = -1.*: above 0"),
        ("low_usd = 1.0", 'low_usd = "1"', "price 1: low_usd = '1': a number is needed"),
        ("low_usd = 1.0", "low_usd = nan", "low_usd = nan: a number is needed"),
        ("memory_bytes = 137438953472", "memory_bytes = 0.5", "0.5: a whole number is needed"),
        ('maker = "Huawei"', 'makr = "Huawei"', "maker, makr"),
    ],
)
def test_a_wrong_row_of_a_user_says_what_is_wrong(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(OWN.replace(old, new))
    with pytest.raises(UsageError, match=why):
        CATALOGUE.extended(file)
