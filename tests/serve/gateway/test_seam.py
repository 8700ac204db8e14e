"""An answer that a vLLM began and another one goes on with, cut at every token, is the answer of one."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cordee.serve.gateway.foreign import Foreign
from cordee.serve.gateway.reading import Reading, reading_of
from cordee.serve.gateway.record import CHAT, COMPLETIONS, Line, Record, lines_of
from cordee.serve.gateway.seam import goes_on, join

ASK = {"messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 500}
TOOLS = {"tools": [{"type": "function", "function": {"name": "look"}}]}
CALL = '<tool_call>{"name": "look", "arguments": {"at": "Köln"}}</tool_call>'


@pytest.fixture(scope="module")
def reading(model_folder: Path) -> Reading:
    found = reading_of(model_folder)
    assert found is not None
    return found


def record_of(body: dict[str, Any], path: str = CHAT) -> tuple[Record, Line]:
    (line,) = lines_of(path, body, "chatcmpl-1")
    made = Record(
        id="chatcmpl-1", path=path, created=1, lines=[line], streams=True, wants_usage=False,
        wants_ids=False, prompt=b"", exchange=SimpleNamespace(),  # type: ignore[arg-type]
    )  # fmt: skip
    return made, line


def begun(ids: list[int], texts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Chunks as vLLM writes them: the prompt's ids first, then for each token what it adds."""
    first = {"role": "assistant", "content": ""}
    yield {"choices": [{"index": 0, "delta": first}], "prompt_token_ids": [5, 6]}
    for token, delta in zip(ids, texts, strict=True):
        yield {"choices": [{"index": 0, "delta": dict(delta), "token_ids": [token]}]}


def rest(ids: list[int], reason: str = "stop") -> Iterator[dict[str, Any]]:
    """Chunks of the completion that goes on: two tokens at a time, the last with its reason."""
    for at in range(0, len(ids), 2):
        last = at + 2 >= len(ids)
        yield {"choices": [{"text": "?", "token_ids": ids[at : at + 2], "finish_reason": reason if last else None}]}  # fmt: skip


def heard(events: list[bytes | None]) -> dict[str, Any]:
    """All that a client has in the end."""
    made: dict[str, Any] = {"ids": [], "finish": None}
    for event in events:
        if event is None:
            continue
        (choice,) = json.loads(event[6:])["choices"]
        made["ids"] += choice.get("token_ids") or []
        made["finish"] = choice.get("finish_reason") or made["finish"]
        delta = choice.get("delta", choice)
        for name in ("content", "reasoning", "reasoning_content", "text"):
            made[name] = made.get(name, "") + (delta.get(name) or "")
        for call in delta.get("tool_calls") or ():
            name, arguments = made.setdefault("call", ["", ""])
            function = call["function"]
            made["call"] = [name + function.get("name", ""), arguments + function["arguments"]]
    return made


def told(
    reading: Reading, body: dict[str, Any], ids: list[int], texts: list[dict[str, Any]], cut: int
) -> dict[str, Any]:
    """What a client hears of an answer that changes its replica after `cut` tokens."""
    record, line = record_of(body)
    foreign = Foreign(record, line)
    events = [foreign.take(chunk) for chunk in begun(ids[:cut], texts[:cut])]
    foreign.begin()
    seam = join(record, line, foreign, reading, positional=False)
    assert seam is not None
    asked = json.loads(seam.request(0, positional=False))
    assert asked["prompt"] == [5, 6, *ids[:cut]]
    assert asked["max_tokens"] == 500 - cut
    for chunk in rest(ids[cut:]):
        events += [foreign.take(part) for part in seam.chunks(chunk)]
        if seam.over:
            break
    return heard(events)


def spelled(reading: Reading, text: str) -> tuple[list[int], list[str]]:
    """A text's tokens, ended, and what each adds to it, letters only when they are whole."""
    ids = reading.vocabulary.encode(text)
    texts, seen = [], 0
    for count in range(1, len(ids) + 1):
        whole = reading.vocabulary.decode(ids[:count])
        whole = whole[: -1 if whole.endswith("\ufffd") else None]
        texts.append(whole[seen:])
        seen = max(seen, len(whole))
    return [*ids, 2], [*texts, ""]


def test_letters_of_several_tokens_are_whole(reading: Reading) -> None:
    ids, texts = spelled(reading, "def größe(): return '🦆漢'")
    for cut in range(1, len(ids)):
        made = told(reading, ASK, ids, [{"content": text} for text in texts], cut)
        assert made["content"] == "def größe(): return '🦆漢'"
        assert (made["ids"], made["finish"]) == (ids, "stop")


def test_thoughts_stay_thoughts_by_the_name_that_vllm_gives_them(reading: Reading) -> None:
    thought, answer = spelled(reading, "<think>so it is</think>yes")[0], []
    inside, said = False, ""
    for count in range(1, len(thought)):
        text = reading.vocabulary.decode(thought[:count])
        reasoning, _, content = text.removeprefix("<think>").partition("</think>")
        inside = "<think>" in text
        held = reasoning.split("<")[0] if inside else ""
        now = held + content
        answer.append({"content" if content else "reasoning": now[len(said) :]})
        said = now
    answer.append({})
    for cut in range(1, len(thought)):
        made = told(reading, ASK, thought, answer, cut)
        given = made.get("reasoning", "") or made.get("reasoning_content", "")
        assert (given, made["content"]) == ("so it is", "yes"), cut


def test_a_stop_string_across_the_seam_ends_the_answer(reading: Reading) -> None:
    ids, texts = spelled(reading, "one two END three four five six")
    body = ASK | {"stop": ["END three"]}
    kept, said = [], ""
    for count in range(1, len(ids)):  # vLLM holds back as much as the stop string is long
        now = "".join(texts[:count])[: -len("END three") + 1]
        kept.append({"content": now[len(said) :]})
        said = now
    whole = len("".join(texts)) - len("".join(texts).partition("END three")[2])
    last = next(n for n in range(1, len(ids)) if len("".join(texts[:n])) >= whole)
    for cut in range(1, last):
        made = told(reading, body, ids, kept, cut)
        assert made["content"] == "one two ", cut
        assert made["finish"] == "stop"
        assert made["ids"] == ids[:last]


def test_a_call_that_was_told_in_part_is_told_once(reading: Reading) -> None:
    ids, _ = spelled(reading, CALL)
    deltas: list[dict[str, Any]] = []
    said = ""
    for count in range(1, len(ids)):
        text = reading.vocabulary.decode(ids[:count])
        begun_call = '"name": "look", "arguments": ' in text
        arguments = text.partition('"arguments": ')[2].removesuffix("</tool_call>").partition("}")
        now = arguments[0] + arguments[1]
        call: dict[str, Any] = {"index": 0, "function": {"arguments": now[len(said) :]}}
        if begun_call and not any("tool_calls" in delta for delta in deltas):
            call |= {"id": "call-of-vllm", "type": "function"}
            call["function"]["name"] = "look"
        deltas.append({"tool_calls": [call]} if begun_call and "\ufffd" not in now else {})
        said = now if begun_call and "\ufffd" not in now else said
    for cut in range(1, len(ids)):
        made = told(reading, ASK | TOOLS, ids, [*deltas, {}], cut)
        assert made["call"] == ["look", '{"at": "Köln"}'], cut
        assert (made["content"], made["finish"]) == ("", "tool_calls")


def test_logarithms_have_the_form_of_the_endpoint(reading: Reading) -> None:
    ids, texts = spelled(reading, "import this now")
    record, line = record_of(ASK | {"logprobs": True, "top_logprobs": 1})
    foreign = Foreign(record, line)
    for chunk in begun(ids[:2], [{"content": text} for text in texts[:2]]):
        foreign.take(chunk)
    foreign.begin()
    seam = join(record, line, foreign, reading, positional=False)
    assert seam is not None
    asked = json.loads(seam.request(0, positional=False))
    assert (asked["logprobs"], asked["return_tokens_as_token_ids"]) == (1, True)
    logprobs = {
        "tokens": [f"token_id:{ids[2]}"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{f"token_id:{ids[2]}": -0.5, "token_id:9": -2.0}],
    }
    chunk = {"choices": [{"token_ids": [ids[2]], "logprobs": logprobs, "finish_reason": None}]}
    before, after = [foreign.take(part) for part in seam.chunks(chunk)]
    assert before is None
    assert after is not None
    (entry,) = json.loads(after[6:])["choices"][0]["logprobs"]["content"]
    assert (entry["token"], entry["logprob"]) == (texts[2], -0.5)
    assert [top["token"] for top in entry["top_logprobs"]] == [texts[2]]


def test_an_answer_as_long_as_there_is_room_stays_so(reading: Reading) -> None:
    ids, texts = spelled(reading, "return self")
    body = {key: value for key, value in ASK.items() if key != "max_tokens"}
    record, line = record_of(body)
    foreign = Foreign(record, line)
    for chunk in begun(ids[:1], [{"content": texts[0]}]):
        foreign.take(chunk)
    seam = join(record, line, foreign, reading, positional=True)
    assert seam is not None
    asked = json.loads(seam.request(100, positional=True))
    assert (asked["max_tokens"], asked["vllm_xargs"]) == (100 - 2 - 1, {"cordee_said": 1})


@pytest.mark.parametrize(
    ("more", "plain", "positional"),
    [
        ({}, True, True),
        ({"temperature": 0.7}, False, True),
        ({"temperature": None}, False, True),
        ({"frequency_penalty": 0.1}, False, True),
        ({"repetition_penalty": 1.2}, True, True),
        ({"response_format": {"type": "json_object"}}, False, False),
        ({"response_format": {"type": "text"}}, True, True),
        ({"tool_choice": "required"}, False, False),
        ({"tool_choice": "auto"}, True, True),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, False, False),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, True, True),
    ],
)
def test_only_what_stays_the_same_goes_on(
    more: dict[str, Any], plain: bool, positional: bool
) -> None:
    assert goes_on(ASK | more, positional=False) is plain
    assert goes_on(ASK | more, positional=True) is positional


def test_what_the_client_has_otherwise_is_made_again(reading: Reading) -> None:
    ids, _ = spelled(reading, "return self.value")
    record, line = record_of(ASK)
    foreign = Foreign(record, line)
    for chunk in begun(ids[:3], [{"content": text} for text in ("RETURN", " SELF", ".")]):
        foreign.take(chunk)
    assert join(record, line, foreign, reading, positional=False) is None


def test_a_completion_goes_on_too(reading: Reading) -> None:
    ids, texts = spelled(reading, "class Größe:\n    pass")
    for cut in range(1, len(ids)):
        record, line = record_of({"prompt": "x", "temperature": 0, "max_tokens": 99}, COMPLETIONS)
        foreign = Foreign(record, line)
        events = []
        for number in range(cut):
            choice = {"index": 0, "text": texts[number], "token_ids": [ids[number]]}
            if number == 0:
                choice["prompt_token_ids"] = [7]
            events.append(foreign.take({"choices": [choice]}))
        foreign.begin()
        seam = join(record, line, foreign, reading, positional=False)
        assert seam is not None
        events += [foreign.take(part) for chunk in rest(ids[cut:]) for part in seam.chunks(chunk)]
        made = heard(events)
        assert (made["text"], made["finish"]) == ("class Größe:\n    pass", "stop")
        assert seam.usage == (1, len(ids))


def test_half_a_letter_at_the_end_is_left_out_as_vllm_does(reading: Reading) -> None:
    ids = [*reading.vocabulary.encode("so: 漢")[:-1], 2]
    texts = [{"content": text} for text in (spelled(reading, "so: 漢")[1])[: len(ids)]]
    for cut in range(1, len(ids)):
        assert told(reading, ASK, ids, texts, cut)["content"] == "so: ", cut
