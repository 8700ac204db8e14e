"""Stretches of time."""

import pytest

from cordee.emulator.timeline.spans import Span, shares, union, without


def test_spans_that_meet_become_one() -> None:
    spans = [Span(3, 4), Span(0, 1), Span(1, 2), Span(0.5, 1.5), Span(5, 5)]
    assert union(spans) == (Span(0, 2), Span(3, 4))


def test_what_others_cover_is_cut_out() -> None:
    assert without([Span(0, 4), Span(5, 6)], [Span(1, 2), Span(3, 5.5)]) == (
        Span(0, 1),
        Span(2, 3),
        Span(5.5, 6),
    )


def test_one_that_covers_several_is_cut_out_of_each() -> None:
    assert without([Span(0, 2), Span(3, 5)], [Span(1, 4)]) == (Span(0, 1), Span(4, 5))


def test_a_bin_holds_its_share() -> None:
    assert shares([Span(0.5, 2.25)], Span(0, 4), 4) == pytest.approx([0.5, 1, 0.25, 0])


def test_what_lies_outside_the_window_is_in_no_bin() -> None:
    assert shares([Span(0, 1), Span(1.5, 9), Span(10, 11)], Span(2, 4), 2) == [1, 1]
    assert shares([Span(0, 1)], Span(2, 4), 2) == [0, 0]
