"""A service over real vLLMs: what one began another one goes on with, and nothing shows."""

import os
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, served
from tests.serve.gateway.test_streams import chunks, plain, said
from tests.serve.models import write_model

PYTHON = os.environ.get("CORDEE_TEST_VLLM", "")
FLEET = """
[gateway]
port = 0
[[pool]]
name = "v"
kind = "vllm"
model = "{model}"
replicas = 2
threads = 1
python = "{python}"
arguments = ["--max-model-len", "1024", "--enforce-eager", "--dtype", "float32"]
"""
ASK = {
    "messages": [{"role": "user", "content": "Tell me about parsers."}],
    "max_tokens": 800,
    "ignore_eos": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_token_ids": True,
}
SAMPLED = {"temperature": 0.9, "top_p": 0.95, "top_k": 400, "seed": 5}
WORDS = {"frequency_penalty": 0.3, "presence_penalty": 0.2, "repetition_penalty": 1.05}
KINDS = {
    "greedy": {"temperature": 0},
    "greedy with penalties": {"temperature": 0} | WORDS,
    "sampled": SAMPLED,
    "sampled with penalties": SAMPLED | WORDS,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not PYTHON, reason="CORDEE_TEST_VLLM names no Python that has vLLM"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("vllm")
    model = write_model(folder / "small", layers=6, width=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_NO_USAGE_STATS", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        with served(FLEET.format(model=model, python=PYTHON), 2, ready_s=900) as running:
            yield running


def struck(service: Service, body: dict[str, Any], action: str) -> tuple[list[Any], str]:
    """The chunks of an answer whose replica is struck after forty of them, and its name."""
    url, made, name = f"{service.url}/v1/chat/completions", [], ""
    with httpx.stream("POST", url, json=body, timeout=300) as reply:
        for chunk in chunks(reply.iter_lines()):
            made.append(plain(chunk))
            if len(made) == 40:
                name = service.busy()
                service.act(name, action)
    return made, name


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_outlives_its_vllm(service: Service, kind: str) -> None:
    body: dict[str, Any] = ASK | KINDS[kind]
    expected, _ = struck(service, body, "resume")  # which does nothing to one that runs
    made, name = struck(service, body, "hang")
    service.act(name, "resume")
    assert said(made) == said(expected)
    assert made[-1] == expected[-1]
    failover = [event for event in service.status()["events"] if event["kind"] == "failover"][-1]
    assert failover["requests"][0]["ids_said"] < len(said(made)[1])
    service.wait_ready(2, within_s=900)


def test_its_tokens_depend_on_seed_and_position_alone(service: Service) -> None:
    body = ASK | SAMPLED
    first, again, other = (
        said(struck(service, body | {"seed": seed}, "resume")[0]) for seed in (5, 5, 6)
    )
    assert first == again != other


def test_a_killed_vllm_is_started_again_and_its_answer_goes_on(service: Service) -> None:
    body = ASK | SAMPLED | WORDS
    before = sum(replica["restarts"] for replica in service.replicas())
    expected, _ = struck(service, body, "resume")
    made, _ = struck(service, body, "kill")
    assert said(made) == said(expected)
    service.wait_ready(2, within_s=900)
    assert sum(replica["restarts"] for replica in service.replicas()) == before + 1
