"""Do the formulas say what their papers say, and agree with each other where they should?"""

import pytest

from cordee.plan.goodput.closed_form import (
    best_interval_s,
    daly_s,
    ettr,
    missing,
    restarted,
    spares_for,
    young_s,
)
from cordee.plan.goodput.cluster import Checkpoint


def test_the_interval_grows_with_the_root_of_what_keeping_costs() -> None:
    assert young_s(5, 10_000) == pytest.approx(316.2, abs=0.1)
    assert young_s(20, 10_000) == pytest.approx(2 * young_s(5, 10_000))


@pytest.mark.parametrize("between_s", [600.0, 3600.0, 86400.0])
def test_dalys_interval_is_the_best_of_the_exact_formula(between_s: float) -> None:
    assert daly_s(5, between_s) == pytest.approx(best_interval_s(5, between_s), rel=0.001)


def test_where_failures_are_rare_the_first_order_is_the_exact_formula() -> None:
    checkpoint = Checkpoint(every_s=600, write_s=5)
    assert ettr(checkpoint, 300, 86400) == pytest.approx(
        restarted(checkpoint, 300, 86400), abs=1e-4
    )


def test_where_failures_are_frequent_the_first_order_is_useless() -> None:
    checkpoint = Checkpoint(every_s=60, write_s=5)
    assert ettr(checkpoint, 300, 360) < 0.1
    assert restarted(checkpoint, 300, 360) > 0.3


def test_a_job_that_never_fails_loses_only_what_keeping_takes() -> None:
    assert restarted(Checkpoint(every_s=95, write_s=5), 300, 1e12) == pytest.approx(0.95)


def test_a_job_that_cannot_reach_its_first_checkpoint_makes_nothing() -> None:
    assert restarted(Checkpoint(every_s=1e6, write_s=5), 300, 100) == 0.0


def test_four_machines_of_a_thousand_suffice_where_one_and_a_quarter_are_out() -> None:
    assert spares_for(1.25, 0.99) == 4  # as ByteRobust has it for 1,024 machines


def test_without_spares_as_many_are_missing_as_are_out_and_with_many_none() -> None:
    assert missing(7.5, 0) == pytest.approx(7.5)
    assert missing(7.5, 1) < 7.5
    assert missing(7.5, 40) == pytest.approx(0, abs=1e-9)
