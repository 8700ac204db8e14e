"""Does an engine answer OpenAI's own client, the same whatever else it does meanwhile?"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import httpx2 as httpx
import openai
import pytest
from pydantic import BaseModel
from tests.serve.replicas import Replica, replica

PROMPTS = [
    "def parse(self, text):",
    "import os",
    "class Action(_AttributeHolder):" * 5,
    "raise ValueError(",
    "for name in names:",
    "return [" * 20,
    "x",
    "The parser adds an argument to the group. " * 8,
]


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Iterator[Replica]:
    with replica(model_folder, "--threads", "1", "--step-rows", "24") as running:
        yield running


def ask(engine: Replica, prompt: str, **options: object) -> dict[str, object]:
    """A completion with the ids of its tokens."""
    body = {"prompt": prompt, "max_tokens": 40, "return_token_ids": True, **options}
    reply = httpx.post(f"{engine.url}/v1/completions", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


SAMPLED = {"seed": 11, "temperature": 0.9, "top_p": 0.95}


@pytest.mark.parametrize("options", [{"temperature": 0}, SAMPLED])
def test_an_answer_is_the_same_alone_and_among_many(
    engine: Replica, options: dict[str, object]
) -> None:
    alone = [ask(engine, prompt, **options) for prompt in PROMPTS]
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda p: ask(engine, p, **options), PROMPTS * 3))
    assert together == alone * 3
    assert len({str(answer["token_ids"]) for answer in alone}) == len(PROMPTS)


def test_guesses_a_full_cache_and_small_steps_change_nothing(
    engine: Replica, model_folder: Path
) -> None:
    expected = [ask(engine, prompt, **SAMPLED) for prompt in PROMPTS]
    arguments = ("--kv-tokens", "400", "--step-rows", "5", "--no-drafts", "--canary")
    with replica(model_folder, *arguments) as other, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda p: ask(other, p, **SAMPLED), PROMPTS)) == expected


@pytest.mark.parametrize("options", [{"temperature": 0}, SAMPLED | {"frequency_penalty": 0.7}])
def test_another_engine_goes_on_where_one_was(engine: Replica, options: dict[str, object]) -> None:
    whole = ask(engine, PROMPTS[0], **options)
    ids = whole["token_ids"]
    assert isinstance(ids, list)
    for cut in (1, 17, 39):
        given = {"request_id": "r", "continue_from": ids[:cut], "said": cut}
        rest = ask(engine, PROMPTS[0], **options, cordee=given)
        assert rest["token_ids"] == ids[cut:]
        assert str(whole["text"]).endswith(str(rest["text"]))


def test_a_long_prompt_that_is_known_is_not_computed_again(engine: Replica) -> None:
    prompt = "A sentence that nobody has asked about before. " * 12
    for expected in (False, True):
        reply = httpx.post(
            f"{engine.url}/v1/completions", json={"prompt": prompt, "max_tokens": 1}
        ).json()
        usage = reply["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        assert (cached > 0.8 * usage["prompt_tokens"]) is expected


def test_openais_client_chats_streams_and_counts(engine: Replica) -> None:
    client = engine.client()
    messages = [{"role": "user", "content": "Hello"}]
    whole = client.chat.completions.create(
        model="small", messages=messages, max_tokens=20, seed=3, logprobs=True, top_logprobs=2
    )
    choice = whole.choices[0]
    assert whole.usage.completion_tokens == len(choice.logprobs.content) == 20
    stream = client.chat.completions.create(
        model="small", messages=messages, max_tokens=20, seed=3, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == choice.message.content
    assert chunks[-1].usage == whole.usage.model_copy(
        update={"prompt_tokens_details": chunks[-1].usage.prompt_tokens_details}
    )
    assert [model.id for model in client.models.list()] == ["small"]


def test_choices_differ_by_their_seeds(engine: Replica) -> None:
    body = {"prompt": "x", "n": 3, "seed": 40, "max_tokens": 10}
    texts = [
        c["text"] for c in httpx.post(f"{engine.url}/v1/completions", json=body).json()["choices"]
    ]
    assert texts == [ask(engine, "x", seed=40 + i, max_tokens=10)["text"] for i in range(3)]
    assert len(set(texts)) == 3


class Person(BaseModel):
    name: Literal["Ada", "Bob"]
    age: Literal[35, 36]


def test_an_answer_keeps_to_a_schema(engine: Replica) -> None:
    parsed = engine.client().chat.completions.parse(
        model="small",
        messages=[{"role": "user", "content": "Who?"}],
        response_format=Person,
        max_tokens=300,
        seed=5,
        temperature=0.3,
    )
    assert isinstance(parsed.choices[0].message.parsed, Person)
    assert parsed.choices[0].finish_reason == "stop"


def test_a_tool_that_must_be_called_is_called(engine: Replica) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"unit": {"enum": ["C", "F"]}},
                "required": ["unit"],
                "additionalProperties": False,
            },
        },
    }
    reply = engine.client().chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "Warm?"}],
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        max_tokens=200,
        seed=1,
    )
    call = reply.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["unit"] in ("C", "F")
    assert reply.choices[0].finish_reason == "tool_calls"


def test_the_prompt_is_echoed_with_its_logarithms(engine: Replica) -> None:
    body = {"prompt": "import os", "max_tokens": 0, "echo": True, "logprobs": 1}
    choice = httpx.post(f"{engine.url}/v1/completions", json=body).json()["choices"][0]
    assert choice["text"] == "import os"
    assert choice["finish_reason"] == "length"
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert all(value < 0 for value in choice["logprobs"]["token_logprobs"][1:])


def test_ids_and_text_go_both_ways(engine: Replica) -> None:
    ids = httpx.post(f"{engine.url}/tokenize", json={"prompt": "naïve 🎉"}).json()["tokens"]
    told = httpx.post(f"{engine.url}/detokenize", json={"tokens": ids}).json()
    assert told == {"prompt": "naïve 🎉"}
    by_ids = ask(engine, ids, temperature=0)  # type: ignore[arg-type]
    assert by_ids == ask(engine, "naïve 🎉", temperature=0)


def test_embeddings_have_length_one_and_tell_texts_apart(engine: Replica) -> None:
    found = engine.client().embeddings.create(model="small", input=["one", "two", "one"])
    vectors = [entry.embedding for entry in found.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(x * x for x in vectors[1]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/chat/completions", "{", 400, "no JSON"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "user"}], "top_p": 7}, 400, "top_p"),
        ("/v1/completions", {"prompt": "x", "model": "gpt-5"}, 404, "gpt-5"),
        ("/v1/completions", {"prompt": "x " * 5000}, 400, "context has 1024 tokens"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 5000}, 400, "context"),
        ("/v1/completions", {"prompt": [99999]}, 400, "99999"),
        ("/v1/completions", {"prompt": ["x", 3]}, 400, "prompt"),
        ("/v1/completions", {"prompt": ""}, 400, "no token"),
        ("/v1/completions", {"prompt": "x", "structured_outputs": {"regex": "("}}, 400, "form"),
        ("/nothing", {}, 404, "/nothing"),
        ("/v1/models", {}, 405, "POST"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(
    engine: Replica, path: str, body: object, status: int, words: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    reply = httpx.post(f"{engine.url}{path}", content=content)
    assert reply.status_code == status
    assert words in reply.json()["error"]["message"]


def test_an_answer_that_nobody_reads_is_stopped(engine: Replica) -> None:
    with httpx.stream(
        "POST",
        f"{engine.url}/v1/completions",
        json={"prompt": "x", "max_tokens": 900, "stream": True, "ignore_eos": True},
    ) as stream:
        next(stream.iter_lines())
    for _ in range(100):
        state = httpx.get(f"{engine.url}/cordee/engine").json()
        if state["running"] == 0:
            break
    assert state["running"] == 0
    assert state["kv_blocks_free"] == state["kv_blocks"]


def test_an_engine_that_is_to_end_finishes_what_it_has(model_folder: Path) -> None:
    with replica(model_folder) as ending:
        client = ending.client()
        stream = client.completions.create(
            model="small", prompt="x", max_tokens=600, stream=True, extra_body={"ignore_eos": True}
        )
        first = next(stream)
        ending.process.terminate()
        assert len([first, *stream]) > 300
        assert ending.process.wait(10) == 0
        with pytest.raises(openai.APIConnectionError):
            client.models.list()
