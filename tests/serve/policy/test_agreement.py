"""Who is believed, where replicas answer one question differently?"""

import pytest

from cordee.serve.policy.agreement import NEAR, Sample, agree, judge


def sample(name: str, tokens: str, numerics: str = "n", logprob: float = -1.0) -> Sample:
    return Sample(name, numerics, tuple(tokens), (logprob,) * len(tokens))


def test_engines_that_promise_the_same_bits_are_held_to_it() -> None:
    assert agree(sample("a", "xyz"), sample("b", "xyz"))
    assert not agree(sample("a", "xyz"), sample("b", "xyz", logprob=-1.0001))


@pytest.mark.parametrize(
    ("tokens", "logprob", "same"),
    [
        ("xyz", -1.1, True),
        ("xyz", -1.0 - 2 * NEAR, False),
        ("xab", -1.1, True),
        ("xab", -3.0, False),
        ("xy", -1.0, False),
    ],
    ids=["rounded", "too far", "as likely", "less likely", "shorter"],
)
def test_others_may_differ_by_rounding(tokens: str, logprob: float, same: bool) -> None:
    assert agree(sample("a", "xyz"), sample("b", tokens, "other", logprob)) is same


def test_nothing_is_said_of_engines_that_tell_too_little() -> None:
    bare = Sample("b", "", ("abc",), ())
    assert agree(sample("a", "xyz"), bare)
    assert judge([bare], {"b": Sample("b", "", ("xyz",), ())}).wrong == {}


def test_the_majority_is_right() -> None:
    verdict = judge([sample("a", "x"), sample("b", "y"), sample("c", "x")], {})
    assert list(verdict.wrong) == ["b"]
    assert "2 of 3" in verdict.wrong["b"]
    assert judge([sample("a", "x"), sample("b", "x")], {}).wrong == {}


def test_of_two_the_one_that_answers_as_before_is_right() -> None:
    both = [sample("a", "x"), sample("b", "y")]
    before = {"a": sample("a", "x"), "b": sample("b", "x")}
    assert list(judge(both, before).wrong) == ["b"]


def test_where_nobody_knows_who_is_right_nobody_is_struck() -> None:
    verdict = judge([sample("a", "x"), sample("b", "y")], {})
    assert verdict.wrong == {}
    assert verdict.undecided == ("a", "b")


def test_one_alone_is_compared_with_itself_unless_it_is_another_engine_now() -> None:
    alone = [sample("a", "y")]
    assert list(judge(alone, {"a": sample("a", "x")}).wrong) == ["a"]
    assert judge(alone, {"a": sample("a", "x", "older")}).wrong == {}
    assert judge([], {}).wrong == {}
