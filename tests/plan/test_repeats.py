"""What was published more than once of one configuration, and the very results that others were run on."""

from dataclasses import replace

import pytest

from cordee.plan.validation.peers import peers
from cordee.plan.validation.repeats import apart, repeated
from cordee.plan.validation.serving_results import serving_results

PAIR = ("S00733", "S00746")
"""Kimi K2.5 under vLLM with four clients, measured twice."""


def test_two_results_of_one_configuration_are_as_far_apart_as_their_times() -> None:
    rows = [one for one in serving_results() if one.id in PAIR]
    found = {one.name: one for one in apart(rows)}
    assert found["TTFT, vllm"].pairs == 1
    assert found["TTFT, vllm"].mean == pytest.approx(148.6 / 124.3 - 1)


def test_a_run_that_is_listed_twice_says_nothing() -> None:
    row = next(one for one in serving_results() if one.id == PAIR[0])
    names = [one.name for one in apart([row, replace(row, id="again")])]
    assert not any(name.startswith("TTFT") for name in names)


def test_results_with_other_clients_are_no_repeats() -> None:
    row = next(one for one in serving_results() if one.id == PAIR[0])
    assert row.ttft_ms is not None
    other = replace(row, id="other", clients=8, ttft_ms=2 * row.ttft_ms)
    assert not any(one.name.startswith("TTFT") for one in apart([row, other]))


def test_each_value_of_a_test_has_its_day() -> None:
    for one in repeated():
        assert len(one.values) == len(one.dates) > 1
        assert list(one.dates) == sorted(one.dates)


def test_what_another_planner_was_run_on_is_in_the_table() -> None:
    ids = {one.id for one in serving_results()}
    named = [peer for peer in peers() if peer.results]
    assert named
    assert all(set(peer.results) <= ids for peer in named)
