"""Published inference results: how they are held out, predicted and compared."""

from dataclasses import replace
from io import StringIO
from math import log

import pytest
from rich.console import Console

from cordee.core.errors import UsageError
from cordee.plan.calibration.serving_fitting import Measure, fit_engines, fit_serving
from cordee.plan.calibration.serving_table import ServingCalibrations, serving_calibration
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.serving.traffic import serve
from cordee.plan.validation.peers import peers
from cordee.plan.validation.serving_ranking import orders
from cordee.plan.validation.serving_report import (
    serving_data,
    serving_markdown,
    serving_plot,
    serving_tables,
)
from cordee.plan.validation.serving_results import ServingResult, serving_results
from cordee.plan.validation.serving_scoring import (
    ServingScore,
    serving_scores,
    serving_targets,
)
from cordee.plan.validation.serving_splits import folds, measure

FAMILY = "H100-SXM/vllm /"


def some() -> list[ServingResult]:
    return [row for row in serving_results() if row.family.startswith(FAMILY)]


def known(split: int) -> ServingCalibrations:
    return serving_calibration(0)


def test_a_group_is_held_out_whole_and_so_is_a_version() -> None:
    where = folds(serving_results())
    groups: dict[str, int] = {}
    versions: dict[str, int] = {}
    for result in serving_results():
        fold = where[result.id]
        assert groups.setdefault(result.group, fold.group) == fold.group
        assert versions.setdefault(result.version, fold.stack) == fold.stack
        assert fold.group in range(1, 6)
        assert fold.stack in range(6, 11)


def test_every_result_is_a_deployment_that_fits_its_chips() -> None:
    for result in serving_results():
        deployment = result.deployment()
        deployment.engine.check(deployment.model)
        deployment.precision.products(deployment.chip)
        assert result.published


def test_what_was_fitted_to_a_family_is_close_to_its_times_between_tokens() -> None:
    (family, *_) = (f for f in serving_targets(serving_scores(known, some())) if "TPOT" in f.name)
    assert family.results == len(some())
    assert family.mean_error < 0.08


def test_the_page_and_the_plot_and_the_data_show_every_figure() -> None:
    scores = serving_scores(known, some())
    assert "AIConfigurator 0.12 24.4%" in serving_markdown(scores)
    assert serving_plot(scores).count("<title>") == len(scores) / 2
    found = serving_data(scores)["results"]
    assert len(found) == len(scores)
    assert all(one["interval"] > 0 for one in found)


def test_tables_are_whole_in_a_narrow_terminal() -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(*serving_tables(serving_scores(known, some())))
    shown = console.export_text()
    assert "throughput, sglang-ascend" in shown
    assert "TPOT, calibrated on the stack" in shown
    assert "…" not in shown


def test_without_calibrations_that_leave_results_out_nothing_is_claimed() -> None:
    with pytest.raises(UsageError, match=r"calibrate_serving\.py"):
        serving_scores(lambda split: ServingCalibrations(), some())


def test_a_calibration_finds_what_deployments_were_measured_with() -> None:
    truth = replace(ServingCalibration(), stream=0.6, kernel_s=8e-6, pass_s=2e-3)
    measured = [_measured(row, truth) for row in some()[:8]]
    found = fit_serving(measured)
    for one in measured:
        predicted = one.formula(found.find(one.kind, one.family))["TPOT"] * one.ratios["TPOT"]
        assert predicted == pytest.approx(one.published["TPOT"], rel=0.05)


def test_a_version_whose_host_is_slow_is_found_out() -> None:
    slow = replace(ServingCalibration(), pass_s=0.06)
    measured = [_measured(row, slow) for row in some()[:4]]
    quick = ServingCalibrations(fitted={measured[0].kind: ServingCalibration()})
    found = fit_engines(quick, measured).find(measured[0].kind, measured[0].family)
    assert found.pass_s == pytest.approx(0.06, rel=0.25)


def test_times_to_first_tokens_that_are_too_long_count_by_as_much() -> None:
    usual = ServingCalibration()
    row = some()[0]
    one = replace(_measured(row, usual), published={"TTFT": 0.1}, ratios={})
    one = replace(one, published={"TTFT": one.formula(usual)["TTFT"] / 4})
    (plain,), (parts,) = one.residuals(usual), one.residuals(usual, parts=True)
    assert parts / plain == pytest.approx(3 / log(4))


def _measured(row: ServingResult, truth: ServingCalibration) -> Measure:
    one = measure(row)
    simulated = serve(one.works.decode.deployment, one.traffic, truth)
    one = replace(one, published={"TPOT": simulated.mean_between_s})
    return one.corrected(truth, simulated)


def test_another_planner_is_compared_on_the_very_results_that_it_was_run_on() -> None:
    (peer,) = (peer for peer in peers() if peer.results)
    rows = [row for row in serving_results() if row.id in peer.results]
    found = {family.name: family for family in serving_targets(serving_scores(known, rows))}
    assert found[peer.family].results == len(peer.results)
    assert f"{peer.peer} {peer.mean_error:.1%}" in serving_markdown(serving_scores(known, rows))


def test_the_better_of_two_deployments_is_told_from_the_other() -> None:
    def score(one: ServingResult, predicted: float) -> ServingScore:
        return ServingScore(
            result=one, metric="TPOT", kind=measure(one).kind, calibrated=True, split=1,
            published=one.published["TPOT"], predicted=predicted,
        )  # fmt: skip

    rows = [row for row in serving_results() if row.tpot_ms]
    narrow = next(row for row in rows if row.tensor == 4 and row.clients == 4)
    wide = replace(narrow, tensor=8, tpot_ms=0.5 * (narrow.tpot_ms or 0.0))
    other = replace(wide, clients=8)
    as_published = [score(one, one.published["TPOT"]) for one in (narrow, wide, other)]
    (found,) = orders(as_published)
    assert (found.pairs, found.right, found.far, found.far_right) == (1, 1, 1, 1)
    (found,) = orders([score(narrow, 1.0), score(wide, 2.0)])
    assert (found.pairs, found.right, found.far_right) == (1, 0, 0)
