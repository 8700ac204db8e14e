"""Does a stream go on from its exact tokens, whatever happens to the replica that makes it?"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, gateway, served
from tests.serve.models import write_model
from tests.serve.replicas import Replica, replica
from tests.waiting import until

TOKENS = 900
TRIES = 5
"""On a busy machine an answer may be complete before the strike that its client asks for."""
LONG = {
    "messages": [{"role": "user", "content": "Tell me about parsers."}],
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_token_ids": True,
}
GREEDY = LONG | {"temperature": 0}
SAMPLED = LONG | {"temperature": 0.9, "seed": 5, "presence_penalty": 0.5}


def chunks(lines: Iterator[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line[6:])


def answer(service: Service, body: dict[str, object]) -> list[dict[str, object]]:
    """All chunks of an answer, less what is new in each: its name and the time."""
    with httpx.stream("POST", f"{service.url}/v1/chat/completions", json=body, timeout=60) as reply:
        return [plain(chunk) for chunk in chunks(reply.iter_lines())]


def plain(chunk: dict[str, object]) -> dict[str, object]:
    usage = chunk.get("usage")
    if isinstance(usage, dict):  # what lay in the cache is the replica's own affair
        usage.pop("prompt_tokens_details")
    return {key: value for key, value in chunk.items() if key not in ("id", "created")}


def disturbed(service: Service, body: dict[str, object], action: str) -> list[dict[str, object]]:
    """The same where the replica that answers is struck after forty tokens."""
    with httpx.stream("POST", f"{service.url}/v1/chat/completions", json=body, timeout=60) as reply:
        made = []
        for chunk in chunks(reply.iter_lines()):
            made.append(plain(chunk))
            if len(made) == 40:
                assert service.act(service.busy(), action).status_code == 200
        return made


@pytest.mark.parametrize("action", ["kill", "hang", "reset", "corrupt"])
@pytest.mark.parametrize("body", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_an_answer_is_the_same_to_the_byte_when_its_replica_fails(
    service: Service, body: dict[str, object], action: str
) -> None:
    expected = answer(service, body)
    before = service.status()["gateway"]["failovers"]
    for _ in range(TRIES):
        service.wait_ready(2)
        assert disturbed(service, body, action) == expected
        if service.status()["gateway"]["failovers"] > before:
            break
    else:
        raise AssertionError("every strike came too late")
    assert len(expected) == TOKENS + 1
    service.wait_ready(2)


def test_what_became_of_the_requests_of_a_dead_replica_is_told(service: Service) -> None:
    disturbed(service, GREEDY, "kill")
    event = [e for e in service.status()["events"] if e["kind"] == "failover"][-1]
    assert event["requests"][0]["exact"] is True
    assert event["requests"][0]["ids_said"] >= 40
    assert event["requests"][0]["gap_s"] > 0
    service.wait_ready(2)


def test_an_answer_without_a_stream_survives_too(service: Service) -> None:
    body = SAMPLED | {"stream": False, "n": 3}
    del body["stream_options"]
    expected = httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=60).json()
    striker = threading.Timer(0.3, lambda: service.act(service.busy(), "kill"))
    striker.start()
    found = httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=60).json()
    striker.join()
    assert found["choices"] == expected["choices"]
    assert len({choice["message"]["content"] for choice in found["choices"]}) == 3
    assert found["usage"]["completion_tokens"] == 3 * TOKENS
    service.wait_ready(2)


def test_a_client_that_was_cut_off_comes_back_for_the_rest(service: Service) -> None:
    expected = answer(service, SAMPLED)
    url = f"{service.url}/v1/chat/completions"
    made, last = [], ""
    with httpx.stream("POST", url, json=SAMPLED, timeout=60) as reply:
        for line in reply.iter_lines():
            if line.startswith("id: "):
                last = line[4:]
            elif line.startswith("data: {"):
                made.append(plain(json.loads(line[6:])))
                if len(made) == 30:
                    break
    name = last.rpartition(".")[0]
    headers = {"Last-Event-ID": last}
    with httpx.stream("GET", f"{service.url}/v1/streams/{name}", headers=headers) as reply:
        made += [plain(chunk) for chunk in chunks(reply.iter_lines())]
    assert made == expected


def test_another_gateway_goes_on_with_a_stream_from_the_request_alone(
    service: Service,
) -> None:
    body = LONG | {"temperature": 0.9}  # its seed is drawn by the gateway
    made, last = [], ""
    url = f"{service.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60) as reply:
        for line in reply.iter_lines():
            last = line[4:] if line.startswith("id: ") else last
            if line.startswith("data: {"):
                made.append(json.loads(line[6:]))
    cut = 123
    here = f"{last.rpartition('.')[0]}.{cut}"
    with httpx.stream("POST", url, json=body, headers={"Last-Event-ID": here}, timeout=60) as reply:
        rest = list(chunks(reply.iter_lines()))
    assert [plain(c) for c in rest] == [plain(c) for c in made[cut:]]
    assert rest[0]["id"] == made[0]["id"]


def test_a_rolling_restart_loses_no_request(service: Service) -> None:
    expected = answer(service, GREEDY)
    answers: list[list[dict[str, object]]] = []

    def client() -> None:
        answers.extend([answer(service, GREEDY) for _ in range(3)])

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for name in [one["name"] for one in service.replicas()]:
        assert service.act(name, "restart").status_code == 200
        while service.status()["gateway"]["streams"] and any(
            replica["state"] != "ready" for replica in service.replicas()
        ):
            pass
        service.wait_ready(2)
    for thread in clients:
        thread.join()
    assert answers == [expected] * 12
    assert all(replica["restarts"] > 0 for replica in service.replicas())


def others(urls: list[str], kind: str, more: str = "") -> str:
    """A fleet of engines that are not known to be ours."""
    pool = f'name = "other"\nkind = "{kind}"\nmodel = "small"\nurls = {json.dumps(urls)}\n{more}'
    return f"[gateway]\nport = 0\n[[pool]]\n{pool}"


def struck(service: Service, body: dict[str, object], engines: dict[str, Replica]) -> list[str]:
    """The lines of an answer whose engine is killed after sixty of them."""
    url = f"{service.url}/v1/chat/completions"
    told: list[str] = []
    trace = {"X-Cordee-Trace": "1"}
    with httpx.stream("POST", url, json=body, headers=trace, timeout=60) as reply:
        for line in reply.iter_lines():
            told.append(line)
            if len(told) == 60:
                busy = max(service.replicas(), key=lambda one: one["running"])
                engines[busy["url"]].kill()
    return told


@pytest.mark.parametrize("kind", ["vllm", "openai"])
@pytest.mark.parametrize("body", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_an_answer_of_another_engine_is_made_again_and_goes_on_where_it_was(
    model_folder: Path, kind: str, body: dict[str, object]
) -> None:
    start = (model_folder, "--name", "small", "--threads", "1")
    with replica(*start) as one, replica(*start) as two:
        engines = {one.url: one, two.url: two}
        with served(others(list(engines), kind), 2) as service:
            expected = answer(service, body)
            told = [plain(chunk) for chunk in chunks(iter(struck(service, body, engines)))]
    assert said(told) == said(expected)
    assert told[-1] == expected[-1]


@pytest.mark.parametrize("stops", [False, True], ids=["to the end", "to a stop string"])
def test_a_greedy_answer_of_a_vllm_goes_on_from_its_tokens(model_folder: Path, stops: bool) -> None:
    body = dict(GREEDY)
    start = (model_folder, "--name", "small", "--threads", "1")
    with replica(*start) as one, replica(*start) as two:
        engines = {one.url: one, two.url: two}
        with served(others(list(engines), "vllm", f'tokenizer = "{model_folder}"'), 2) as service:
            if stops:
                body["stop"] = late_in(said(answer(service, body))[0])
            expected = answer(service, body)
            before = {engine.url: generated(engine) for engine in (one, two)}
            lines = struck(service, body, engines)
            told = [plain(chunk) for chunk in chunks(iter(lines))]
            until(lambda: one.process.poll() or two.process.poll())
            (left,) = [engine for engine in (one, two) if engine.process.poll() is None]
            made = generated(left) - before[left.url]
    assert said(told) == said(expected)
    assert told[-1] == expected[-1]
    moved_once = (
        sum(line.startswith(": replica") for line in lines) == 2
    )  # slow machines do it again
    if (
        moved_once and not stops
    ):  # the gateway sees the string when the engine is some tokens further
        assert made < len(said(expected)[1])  # the rest alone


def late_in(text: str) -> str:
    """Some letters that come for the first time when most of the text was said."""
    places = range(2 * len(text) // 3, len(text) - 8)
    return next(text[at : at + 8] for at in places if text.find(text[at : at + 8]) == at)


def generated(engine: Replica) -> int:
    """How many tokens an engine has made."""
    lines = httpx.get(f"{engine.url}/metrics").text.splitlines()
    line = next(line for line in lines if line.startswith("cordee_engine_tokens_total "))
    return int(float(line.split()[-1]))


def said(made: list[dict[str, object]]) -> tuple[str, list[int]]:
    choices = [choice for chunk in made for choice in chunk["choices"]]  # type: ignore[attr-defined]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, [i for choice in choices for i in choice.get("token_ids") or ()]


def test_an_answer_that_does_not_come_again_ends_with_an_error_that_says_so(
    model_folder: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "small", seed=1)  # says something else
    with replica(model_folder, "--threads", "1") as one, replica(other, "--threads", "1") as two:
        engines = {one.url: one, two.url: two}
        with served(others(list(engines), "openai"), 2) as service:
            told = struck(service, GREEDY | {"model": "small"}, engines)
    last = json.loads(next(line for line in reversed(told) if line)[6:])
    assert last["error"]["code"] == "not_continued"


def test_tokens_that_come_together_share_the_time_until_they_came() -> None:
    """Four at a time, every 80 ms: each of them takes 20, and not most of them none."""
    slow = ("--tokens-per-s", "50", "--together", "4")
    with replica(Path(), *slow, module="cordee.serve.mock") as mock, gateway([mock]) as service:
        body = {"prompt": "x", "max_tokens": 65, "stream": True}
        assert httpx.post(f"{service.url}/v1/completions", json=body).status_code == 200
        (seen,) = service.replicas()
        assert seen["tpot_s"]["p50"] > 0.01
