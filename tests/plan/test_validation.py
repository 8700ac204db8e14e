"""Published training results, predicted without their groups: errors hold what the page says."""

import json

import pytest
from click.testing import CliRunner

from cordee.cli import cli
from cordee.plan.validation.results import results
from cordee.plan.validation.scoring import Family, Score, ranked, scores, targets
from cordee.plan.validation.splits import SPLITS, held_out

SCORES = scores()


@pytest.fixture(scope="module")
def families() -> dict[str, Family]:
    return {family.name: family for family in targets(SCORES)}


def test_every_group_is_held_out_in_one_split() -> None:
    folds = held_out(results())
    assert set(folds.values()) == set(range(1, SPLITS + 1))
    assert {result.group for result in results()} == folds.keys()


@pytest.mark.parametrize(
    ("family", "most"),
    [
        ("H100 dense", 0.0405),
        ("H100 dense, llm-foundry", 0.045),
        ("B200 dense", 0.04),
        ("B200 dense, Megatron-Core", 0.06),
        ("A100 dense", 0.06),
        ("910B dense", 0.10),
        ("strong scaling, 256 to 12,288 A100", 0.03),
        ("all", 0.13),
    ],
)
def test_the_error_of_a_family_stays_below_its_bound(
    families: dict[str, Family], family: str, most: float
) -> None:
    assert families[family].mean_error < most


def test_nine_of_ten_results_lie_in_their_intervals(families: dict[str, Family]) -> None:
    assert families["all"].covered >= 0.9


def test_nine_of_ten_pairs_of_layouts_are_in_the_right_order() -> None:
    right, pairs = ranked(SCORES)
    assert pairs > 100
    assert right / pairs >= 0.9


def test_a_prediction_that_is_too_fast_has_an_error_above_0() -> None:
    first = SCORES[0]
    twice = Score(
        result=first.result,
        kind=first.kind,
        split=first.split,
        predicted=2 * first.result.tokens_per_s_per_chip,
    )
    assert twice.error == pytest.approx(1.0)


def test_the_command_shows_families_beside_other_planners_in_a_narrow_terminal() -> None:
    done = CliRunner().invoke(cli, ["plan", "validate"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    assert "910B dense: Calculon 34.1%" in done.output
    assert "are in the right order" in done.output
    assert "…" not in done.output


def test_a_machine_reads_every_result_with_its_interval() -> None:
    done = CliRunner().invoke(cli, ["plan", "validate", "--json"])
    found = json.loads(done.output)["results"]
    assert len(found) == len(results())
    assert all(one["interval"] > 0 for one in found)
