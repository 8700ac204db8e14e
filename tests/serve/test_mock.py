"""The engine without a model answers as ours do: the same tokens to the same seed, from wherever one asks."""

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from tests.serve.replicas import Replica, replica

ASKED = {"model": "m", "prompt": "a", "max_tokens": 20, "seed": 3}


@pytest.fixture(scope="module")
def mock() -> Iterator[Replica]:
    with replica(Path("m"), "--tokens-per-s", "500", module="cordee.serve.mock") as running:
        yield running


def text(mock: Replica, **changes: object) -> str:
    found = mock.client().completions.create(**(ASKED | changes))  # type: ignore[call-overload]
    return str(found.choices[0].text)


def test_tokens_follow_from_prompt_and_seed(mock: Replica) -> None:
    assert text(mock) == text(mock)
    assert text(mock) != text(mock, seed=4)
    assert text(mock) != text(mock, prompt="b")
    assert len(text(mock).split()) == 20


def test_a_stream_has_the_tokens_of_the_whole_answer(mock: Replica) -> None:
    stream = mock.client().completions.create(**ASKED, stream=True)  # type: ignore[call-overload]
    said = [event.choices[0].text for event in stream if event.choices]
    assert "".join(said) == text(mock)


def test_an_answer_goes_on_from_where_its_client_is(mock: Replica) -> None:
    words = text(mock).split()
    rest = text(mock, extra_body={"cordee": {"said": 12, "continue_from": []}}).split()
    assert rest == words[12:]


def test_it_answers_chats_and_tells_how_it_is(mock: Replica) -> None:
    chat = mock.client().chat.completions.create(
        model="m", messages=[{"role": "user", "content": "a"}], max_tokens=5
    )
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 5
    state = httpx.get(f"{mock.url}/cordee/engine").json()
    assert state["steps"] > 0
    assert state["running"] == 0


def test_what_it_does_not_have_and_what_is_wrong_is_refused(mock: Replica) -> None:
    assert httpx.get(f"{mock.url}/none").status_code == 404
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        text(mock, max_tokens="many")


def test_it_may_be_told_to_say_something_else() -> None:
    with (
        replica(Path("m"), "--tokens-per-s", "500", module="cordee.serve.mock") as right,
        replica(
            Path("m"), "--tokens-per-s", "500", "--wrong-after", "7", module="cordee.serve.mock"
        ) as wrong,
    ):
        one, other = text(right).split(), text(wrong).split()
    assert one[:7] == other[:7]
    assert all(a != b for a, b in zip(one[7:], other[7:], strict=True))
