"""A first token that is late is asked for on a second replica, and the client hears one answer."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
from tests.serve.gateway.conftest import Service, gateway, serving
from tests.serve.replicas import Replica, replica
from tests.waiting import until

from cordee.serve.mock import WAIT
from cordee.serve.policy.hedging import ENOUGH

HEDGE: dict[str, object] = {"hedge": True, "hedge_share": 0.5}
MOCK = "cordee.serve.mock"


@contextmanager
def engines(*waits_s: float) -> Iterator[list[Replica]]:
    """Engines without a model; each says its first token of the prompt WAIT so late."""
    with replica(Path(), "--tokens-per-s", "200", "--wait-s", str(waits_s[0]), module=MOCK) as one:
        if len(waits_s) == 1:
            yield [one]
            return
        with engines(*waits_s[1:]) as others:
            yield [one, *others]


def ask(service: Service | Replica, prompt: str = "x", **options: object) -> dict[str, Any]:
    body = {"prompt": prompt, "seed": 1, "max_tokens": 12, "return_token_ids": True, **options}
    reply = httpx.post(f"{service.url}/v1/completions", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


def lines_of(service: Service, prompt: str) -> Iterator[str]:
    body = {"prompt": prompt, "seed": 1, "max_tokens": 12, "stream": True}
    url, headers = f"{service.url}/v1/completions", {"X-Cordee-Trace": "1"}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as reply:
        yield from reply.iter_lines()


def learn(service: Service) -> None:
    """So many requests that the gateway knows how late a first token usually is."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ask(service, max_tokens=2), range(ENOUGH + 10)))
    until(lambda: not any(engine_of(one["url"])["running"] for one in service.replicas()))
    time.sleep(0.5)  # and knows that they are idle: it asks them five times a second


def asked(service: Service) -> int:
    """How many requests were asked twice."""
    return service.status()["gateway"]["hedges"]["asked"]


def engine_of(url: str) -> dict[str, Any]:
    return httpx.get(f"{url}/cordee/engine").json()


def idle(service: Service, made: list[Replica]) -> bool:
    own = [engine_of(engine.url)["running"] for engine in made]
    return own == [0, 0] and [r["running"] for r in service.replicas()] == [0, 0]


def test_the_second_replica_answers_where_the_first_is_late() -> None:
    with engines(0, 0) as prompt_ones, gateway(prompt_ones) as service:
        expected = ask(service, WAIT)
    with engines(60, 0) as made, gateway(made, **HEDGE) as service:
        learn(service)
        before = asked(service)
        found = ask(service, WAIT)
        assert found["choices"] == expected["choices"]
        assert found["usage"]["completion_tokens"] == len(found["choices"][0]["token_ids"]) == 12
        assert asked(service) == before + 1
        speakers = [line for line in lines_of(service, WAIT) if line.startswith(": replica")]
        assert speakers == [": replica engines-1"]
        while not idle(service, made):  # the late one was told to stop
            pass
        metrics = httpx.get(f"{service.url}/metrics").text
        assert f"cordee_gateway_hedges_total {asked(service):.1f}" in metrics


def test_the_first_replica_answers_where_it_is_faster_all_the_same() -> None:
    with engines(5, 60) as made, gateway(made, **HEDGE) as service:
        learn(service)
        before = asked(service)
        speakers = [line for line in lines_of(service, WAIT) if line.startswith(": replica")]
        assert speakers == [": replica engines-0"]
        assert asked(service) == before + 1
        while not idle(service, made):
            pass


def test_the_second_goes_on_where_the_first_dies_before_its_first_token() -> None:
    with engines(60, 4) as made, gateway(made, **HEDGE) as service:
        learn(service)
        before = asked(service)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, service, WAIT)
            while asked(service) == before:
                pass
            made[0].kill()
            assert len(answer.result()["choices"][0]["token_ids"]) == 12
        event = [e for e in service.status()["events"] if e["kind"] == "failover"][-1]
        assert event["replica"] == "engines-0"


def test_only_a_small_share_is_asked_twice() -> None:
    with engines(1, 1) as made, gateway(made, **HEDGE | {"hedge_share": 0.05}) as service:
        learn(service)
        with ThreadPoolExecutor(40) as pool:
            list(pool.map(lambda _: ask(service, WAIT, max_tokens=1), range(40)))
        assert 1 <= asked(service) <= 1 + 0.05 * (ENOUGH + 50)


def test_answers_of_engines_that_race_are_those_of_one(model_folder: Path) -> None:
    prompts = [f"Part {number} of the parser" for number in range(30)]
    always = "hedge = true\nhedge_share = 1.0\nhedge_factor = 0.1\nhedge_least_s = 0.0"
    sampled = {"temperature": 0.9, "n": 2}
    with replica(model_folder, "--threads", "1") as engine:
        expected = [ask(engine, prompt, **sampled) for prompt in prompts]
    with serving(model_folder, gateway=always) as service, ThreadPoolExecutor(6) as pool:
        learn(service)
        found = list(pool.map(lambda prompt: ask(service, prompt, **sampled), prompts))
        assert [one["choices"] for one in found] == [one["choices"] for one in expected]
        counts = [one["usage"]["completion_tokens"] for one in found]
        assert counts == [one["usage"]["completion_tokens"] for one in expected]
        assert asked(service) > 10
        while any(one["running"] for one in service.replicas()):
            pass
