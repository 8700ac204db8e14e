"""Who is let in, who waits, and who is told to come back later?"""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from tests.serve.gateway.conftest import Service, served, serving
from tests.serve.replicas import replica

ONE_AT_A_TIME = """
[gateway]
port = 0
replica_requests = 1
[[pool]]
name = "steady"
model = "mock"
urls = ["{url}"]
"""
KEYS = """
[[key]]
name = "team"
key = "sk-team"
requests_per_minute = 3
[[key]]
name = "boss"
key = "sk-boss"
admin = true
"""


def ask(service: Service, **options: object) -> httpx.Response:
    body = {"prompt": "x", "max_tokens": 4, **options}
    return httpx.post(f"{service.url}/v1/completions", json=body, timeout=60)


def test_keys_open_the_service_and_their_limits_hold(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(KEYS)
    gateway = f'keys = "{tmp_path / "keys.toml"}"'
    with serving(model_folder, replicas=1, gateway=gateway, key="sk-boss") as service:
        for wrong in ({}, {"Authorization": "Bearer sk-other"}, {"Authorization": "sk-team"}):
            reply = httpx.post(f"{service.url}/v1/completions", json={}, headers=wrong)
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        team = service.client("sk-team")
        for _ in range(3):
            team.completions.create(model="small", prompt="x", max_tokens=1)
        with pytest.raises(openai.RateLimitError) as caught:
            team.completions.create(model="small", prompt="x", max_tokens=1)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        steer = f"{service.url}/cordee/pools/small"
        headers = {"Authorization": "Bearer sk-team"}
        assert httpx.post(steer, json={"share": 1}, headers=headers).status_code == 403
        assert httpx.post(steer, json={"share": 1}, headers=service.headers).status_code == 200


def test_a_full_queue_is_told_honestly(model_folder: Path) -> None:
    gateway = "max_queue = 2\nreplica_requests = 1"
    with serving(model_folder, replicas=1, gateway=gateway) as service:
        with ThreadPoolExecutor(8) as pool:
            replies = list(
                pool.map(lambda _: ask(service, max_tokens=300, ignore_eos=True), range(8))
            )
        codes = [reply.status_code for reply in replies]
        assert codes.count(200) >= 3
        assert set(codes) == {200, 503}
        refused = next(reply for reply in replies if reply.status_code == 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "overloaded"


def test_the_more_urgent_goes_first_and_the_late_is_told() -> None:
    with (
        replica(Path(), "--tokens-per-s", "100", module="cordee.serve.mock") as engine,
        served(ONE_AT_A_TIME.format(url=engine.url), 1) as service,
    ):
        order: list[str] = []

        def one(name: str, **options: object) -> None:
            reply = ask(service, max_tokens=200, **options)
            order.append(name if reply.status_code == 200 else f"{name} {reply.status_code}")

        threads = []
        for number, (name, options) in enumerate(
            (
                ("first", {}),
                ("late", {"cordee": {"deadline_s": 0.05}}),
                ("plain", {}),
                ("urgent", {"priority": 5}),
            )
        ):
            threads.append(threading.Thread(target=one, args=(name,), kwargs=options))
            threads[-1].start()
            while not order and service.status()["gateway"]["streams"] + (number > 1) <= number:
                pass
        for thread in threads:
            thread.join()
        assert order == ["late 504", "first", "urgent", "plain"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/chat/completions", "{", 400, "no JSON"),
        ("/v1/chat/completions", "[" * 5000, 400, ""),
        ("/v1/chat/completions", {"messages": [], "n": 0}, 400, "n:"),
        ("/v1/chat/completions", {"messages": [{"role": "x"}]}, 400, "role"),
        ("/v1/completions", {"prompt": "x", "model": "other"}, 404, "other"),
        ("/v1/completions", {"prompt": "x " * 5000}, 400, "context"),
        ("/v1/completions", {"prompt": ["x"] * 500}, 400, "128"),
        ("/v1/nothing", {}, 404, "/v1/nothing"),
        ("/cordee/replicas/small-7/kill", {}, 404, "small-7"),
        ("/cordee/replicas/small-0/explode", {}, 400, "explode"),
        ("/cordee/pools/small", {"share": 7}, 400, "share"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(
    service: Service, path: str, body: object, status: int, words: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    reply = httpx.post(f"{service.url}{path}", content=content)
    assert reply.status_code == status
    assert words in reply.json()["error"]["message"]
    assert ask(service).status_code == 200


def test_openais_client_gets_its_errors(service: Service) -> None:
    client = service.client()
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="small", prompt="x", max_tokens=99999)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="gpt-5", prompt="x")


def test_tokens_embeddings_and_metrics_come_through(service: Service) -> None:
    assert service.client().embeddings.create(model="small", input="a").data[0].embedding
    assert httpx.post(f"{service.url}/tokenize", json={"prompt": "a b"}).json()["count"] > 0
    assert ask(service).status_code == 200
    metrics = httpx.get(f"{service.url}/metrics").text
    assert 'cordee_gateway_requests_total{result="ok"}' in metrics
    assert 'cordee_replica_ready{pool="small",replica="small-0"} 1.0' in metrics


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        ("", "has no [[pool]]"),
        ("[[pool", "is no TOML"),
        ('[[pool]]\nname = "a"', "has no model"),
        ('[[pool]]\nname = "a"\nmodel = "m"\nsped = 3', "sped is no key"),
        ('[[pool]]\nname = "a"\nmodel = "m"\nkind = "tgi"', "none of cordee, vllm, openai"),
        ('[[pool]]\nname = "a"\nmodel = "m"\nreplicas = "two"', "'two'"),
        ('[gateway]\nport = "x"\n[[pool]]\nname = "a"\nmodel = "m"', "port is 'x'"),
        ('[[pool]]\nname = "a"\nmodel = "nowhere"', "has no config.json"),
    ],
)
def test_what_is_wrong_with_a_fleet_file_is_said(tmp_path: Path, fleet: str, words: str) -> None:
    (tmp_path / "fleet.toml").write_text(fleet)
    command = [sys.executable, "-m", "cordee", "serve", "--fleet", str(tmp_path / "fleet.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
