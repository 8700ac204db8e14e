"""The catalogue of chips."""

import dataclasses

import pytest

from cordee.core.errors import UsageError
from cordee.hw import Chip, chip, chips


@pytest.mark.parametrize("name", ["Ascend910B3", "910B3", "910b3", "ASCEND910B3"])
def test_a_chip_answers_to_its_names_in_any_case(name: str) -> None:
    assert chip(name).soc_name == "Ascend910B3"


def test_a_generation_name_means_one_of_its_chips() -> None:
    assert chip("910C").soc_name == "Ascend910_9392"
    assert chip("310P").soc_name == "Ascend310P3"


def test_an_unknown_chip_is_answered_with_what_there_is() -> None:
    with pytest.raises(UsageError) as error:
        chip("Ascend910B33")
    assert "Did you mean Ascend910B3?" in str(error.value)
    assert "Ascend910_9392" in str(error.value)


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UsageError) as error:
        chip("xyz")
    assert "Did you mean" not in str(error.value)


@pytest.mark.parametrize("known", chips(), ids=lambda known: known.soc_name)
def test_every_chip_has_a_source_and_figures_that_fit_together(known: Chip) -> None:
    assert known.source
    assert known.usable_bytes <= known.memory_bytes
    assert known.cube_cores > 0
    assert known.vector_cores > 0


@pytest.mark.parametrize(
    "known",
    [known for known in chips() if known.cube_hertz and known.fp16_flops_per_s],
    ids=lambda known: known.soc_name,
)
def test_a_peak_rate_is_near_what_cores_and_clock_allow(known: Chip) -> None:
    assert known.cube_hertz
    # A cube core multiplies two 16 x 16 matrices in one cycle: 16 * 16 * 16 products and sums.
    derived = known.cube_cores * known.cube_hertz * 2 * 16**3
    assert derived == pytest.approx(known.fp16_flops_per_s, rel=0.15)


def test_a_chip_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        chip("910B3").cube_cores = 1  # type: ignore[misc]
