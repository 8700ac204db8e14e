"""Does an answer say the same wherever it is taken over, and stop where it should?"""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordee.serve.sampling import Sampling, Token
from cordee.serve.text.answer import Answer, Piece
from cordee.serve.text.chunks import Chunks
from cordee.serve.text.tools import Call
from cordee.serve.text.vocabulary import Vocabulary
from cordee.serve.text.wish import Wish

LOGITS = 2048


@pytest.fixture(scope="module")
def vocabulary(model_folder: Path) -> Vocabulary:
    return Vocabulary(model_folder)


def wish(**changes: object) -> Wish:
    plain = Wish(
        kind="chat",
        prompt_ids=(5, 6),
        sampling=Sampling(),
        max_tokens=500,
        end_ids=frozenset({2}),
        request_id="chatcmpl-1",
        return_ids=True,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def pieces(answer: Answer, ids: list[int]) -> list[Piece]:
    made = []
    for i in ids:
        if answer.finished:
            break
        piece = answer.take(Token(i))
        if piece is not None:
            made.append(piece)
    return made


def said(made: list[Piece]) -> str:
    return "".join(piece.content for piece in made)


TEXTS = [
    "def parse_args(self): return 'naïve café 🎉 日本語' # STOP here and END",
    'Let me see.<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2, 3]}}\n</tool_call>',
    '<tool_call>{"name": "f", "arguments": {}}</tool_call> and <tool_call>no json</tool_call> end',
    "<think>first this, then that</think>\n\nThe answer is 42.",
]
WISHES = [
    wish(),
    wish(stop=("STOP here and END", "END")),
    wish(dialect="hermes"),
    wish(thinks=True, dialect="hermes"),
]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_replica_that_takes_over_goes_on_with_the_same_bytes(
    vocabulary: Vocabulary, data: st.DataObject
) -> None:
    text, asked = data.draw(st.sampled_from(TEXTS)), data.draw(st.sampled_from(WISHES))
    ids = [*vocabulary.encode(text), 2]
    if data.draw(st.booleans()):  # byte by byte, so that characters are cut anywhere
        ids = [i for letter in text for i in vocabulary.encode(letter)] + [2]
    whole = Answer(asked, vocabulary, LOGITS)
    chunks = Chunks(asked, vocabulary)
    undisturbed = [chunks.chunk(piece) for piece in pieces(whole, ids)]
    cut = data.draw(st.integers(1, len(undisturbed)))
    later = replace(asked, said=cut, continue_from=tuple(ids[:cut]))
    answer, chunks = Answer(later, vocabulary, LOGITS), Chunks(later, vocabulary)
    rest = [chunks.chunk(piece) for piece in pieces(answer, ids)]
    assert undisturbed[:cut] + rest == undisturbed


def test_text_comes_out_whole_with_special_tokens_left_out(vocabulary: Vocabulary) -> None:
    for text in TEXTS:
        answer = Answer(wish(), vocabulary, LOGITS)
        made = pieces(answer, [1, *vocabulary.encode(text), 2, 77])
        assert said(made) == text
        assert answer.finished == made[-1].finish == "stop"


@pytest.mark.parametrize(
    ("stop", "include", "expected"),
    [
        (("STOP",), False, "one two "),
        (("STOP",), True, "one two STOP"),
        (("wo S", "STOP"), False, "one t"),
        (("nothing", "STOPP"), False, "one two STOP three"),
    ],
)
def test_an_answer_ends_at_a_stop_string(
    vocabulary: Vocabulary, stop: tuple[str, ...], include: bool, expected: str
) -> None:
    asked = wish(stop=stop, include_stop=include)
    ids = [i for letter in "one two STOP three" for i in vocabulary.encode(letter)]
    assert said(pieces(Answer(asked, vocabulary, LOGITS), [*ids, 2])) == expected


def test_an_answer_ends_at_its_most_tokens_and_says_what_it_held(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("abc ST")
    answer = Answer(wish(stop=("STOP",), max_tokens=len(ids)), vocabulary, LOGITS)
    made = pieces(answer, ids)
    assert said(made) == "abc ST"
    assert made[-1].finish == "length"


def test_ends_are_forbidden_until_the_least_tokens_are_there(vocabulary: Vocabulary) -> None:
    answer = Answer(wish(min_tokens=2, stop_ids=frozenset({9})), vocabulary, LOGITS)
    mask = answer.mask()
    assert mask is not None
    assert not mask[2]
    assert not mask[9]
    assert mask.sum() == LOGITS - 2
    pieces(answer, [40, 41])
    assert answer.mask() is None
    assert pieces(answer, [9])[-1].stop == 9


def test_calls_of_tools_are_found_with_their_arguments(vocabulary: Vocabulary) -> None:
    answer = Answer(wish(dialect="hermes"), vocabulary, LOGITS)
    made = pieces(answer, [*vocabulary.encode(TEXTS[1]), 2])
    calls = [call for piece in made for call in piece.calls]
    assert said(made) == "Let me see."
    assert calls == [Call(0, calls[0].id, "add", '{"a": 1, "b": [2, 3]}')]
    assert made[-1].finish == "tool_calls"


def test_what_looks_like_a_call_and_is_none_is_shown_as_it_is(vocabulary: Vocabulary) -> None:
    answer = Answer(wish(dialect="hermes"), vocabulary, LOGITS)
    made = pieces(answer, [*vocabulary.encode(TEXTS[2]), 2])
    assert said(made) == " and <tool_call>no json</tool_call> end"
    assert [call.name for piece in made for call in piece.calls] == ["f"]


def test_thoughts_are_told_apart(vocabulary: Vocabulary) -> None:
    answer = Answer(wish(thinks=True), vocabulary, LOGITS)
    made = pieces(answer, [*vocabulary.encode(TEXTS[3]), 2])
    assert "".join(piece.reasoning for piece in made) == "first this, then that"
    assert said(made) == "The answer is 42."


def test_llamas_calls_without_a_mark_are_found(vocabulary: Vocabulary) -> None:
    answer = Answer(wish(dialect="llama3"), vocabulary, LOGITS)
    made = pieces(answer, [*vocabulary.encode('{"name": "f", "parameters": {"x": "y"}}'), 2])
    assert [call.arguments for piece in made for call in piece.calls] == ['{"x": "y"}']
    assert said(made) == ""
