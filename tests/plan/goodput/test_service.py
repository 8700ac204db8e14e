"""Does a service of which replicas fall lose what its gateway's decisions and the formulas say?"""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cordee.cli import cli
from cordee.core.errors import UsageError
from cordee.plan.goodput.rates import Rates, rates
from cordee.plan.goodput.service import closed_form
from cordee.plan.goodput.service.service import Service
from cordee.plan.goodput.service.window import Window, noticed_s
from cordee.plan.goodput.service.year import Year
from cordee.serve.policy.failover import FAILURES_MOST

SERVICE = Service(
    replicas=6,
    replica_chips=8,
    rate_per_s=8.0,
    room=32,
    stay_s=16.0,
    first_s=0.5,
    prompt=1024,
    answer=512,
    rates=rates("1e-4", "hopper"),
)


def fallen(service: Service, up: int, after_s: float = 15.0) -> Window:
    window = Window(service, up)
    window.run(5.0)
    window.falls(1, "closed")
    window.run(5.0 + after_s)
    return window


def test_a_process_that_dies_costs_clients_no_more_than_reading_their_prompts_again() -> None:
    window = fallen(SERVICE, 6)
    assert window.moved > 10
    assert len(window.gaps_s) == window.moved
    assert 0.5 <= min(window.gaps_s) <= max(window.gaps_s) <= 0.5 * 1.5
    assert window.broken_off == window.refused == 0


def test_a_node_that_is_cut_off_is_noticed_later_behind_an_engine_of_others() -> None:
    own, others = (noticed_s("silent", own=own) for own in (True, False))
    assert own is not None
    assert others is not None
    assert 0.5 < own < 0.9 < others < 1.5


def test_an_engine_that_hangs_is_noticed_later_where_others_made_it() -> None:
    assert noticed_s("stuck", own=True) == pytest.approx(1.5, abs=0.2)
    assert noticed_s("stuck", own=False) == pytest.approx(10.0, abs=0.2)


def test_where_all_others_are_full_those_that_move_wait_and_newcomers_are_refused() -> None:
    crowded = replace(SERVICE, rate_per_s=14.0)
    window = fallen(crowded, 6, after_s=120)
    assert max(window.gaps_s) > 1
    assert window.refused > 50
    assert window.broken_off == 0


def test_where_no_replica_is_left_requests_are_given_up_when_patience_ends() -> None:
    window = fallen(SERVICE, 1, after_s=50)
    assert window.broken_off == 0
    window.run(80)
    assert window.broken_off == window.moved


def test_requests_that_get_on_between_failures_are_not_blamed_for_them() -> None:
    window = Window(replace(SERVICE, rate_per_s=0.05, stay_s=1000.0), 10)
    for number in range(1, 10):
        window.run(10.0 * number)
        window.falls(number, "closed")
    window.run(100.0)
    assert window.moved > 100
    assert window.broken_off == 0


def test_a_request_that_is_alone_wherever_a_replica_dies_is_given_up_after_six() -> None:
    window = Window(replace(SERVICE, rate_per_s=0.001, stay_s=1000.0), 10)
    window.run(10.0)
    for number in range(1, 10):
        window.falls(number, "closed")
    assert window.moved == FAILURES_MOST
    assert window.broken_off == 1


def test_as_many_requests_move_as_the_formula_says() -> None:
    outcome = Year(SERVICE).run(10 * 365)
    assert outcome.failures > 200
    assert outcome.gaps / outcome.requests == pytest.approx(closed_form.gaps(SERVICE), rel=0.2)


def test_as_many_are_refused_as_the_formula_says() -> None:
    tight = replace(SERVICE, replicas=4, own_engine=True)
    outcome = Year(tight).run(100 * 365)
    found, formula = outcome.refused / outcome.requests, closed_form.refused(tight)
    assert formula > 1e-5
    assert tight.wanted == 4
    assert found == pytest.approx(formula, rel=0.2)


def test_copies_that_share_a_node_fall_together_and_more_of_them_are_needed() -> None:
    spread = replace(SERVICE, replica_chips=8, node_chips=8)
    packed = replace(SERVICE, replica_chips=1, node_chips=8)
    assert spread.together == 1
    assert packed.together == 8
    for service, least in ((spread, 5), (packed, 12)):
        needed = closed_form.replicas_for(service, 0.9999)
        assert needed is not None
        assert needed >= least
        assert closed_form.refused(replace(service, replicas=needed)) <= 1e-4
        assert closed_form.refused(replace(service, replicas=needed - 1)) > 1e-4


def test_nothing_is_lost_where_nothing_fails() -> None:
    sound = replace(SERVICE, rates=Rates(words="none", by_part={"chip": 0.0}))
    outcome = Year(sound).run(30)
    assert outcome.failures == outcome.gaps == outcome.refused == 0
    assert outcome.availability == 1
    assert closed_form.refused(sound) == 0


def run(*words: str) -> str:
    asked = ["plan", "serve", "Qwen3-32B", "--chip", "910B3", "--chips", "16", *words]
    done = CliRunner().invoke(cli, asked, env={"COLUMNS": "160"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_says_what_clients_see() -> None:
    found = run("--failures", "typical")
    assert "answered whole" in found
    assert "no run on Ascend has published its failures" in found
    told = json.loads(run("--failures", "typical", "--json"))["failures"]["910B3"]
    assert 0.9 < told["availability"] <= 1
    assert told["copies_for"]["0.9999"] >= told["copies_for"]["0.99"]


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="one of low, typical, high"):
        run("--failures", "often")
