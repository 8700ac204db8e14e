"""An engine of others whose chip hangs while its server answers: its answers go on elsewhere, and it comes back."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.serve.gateway.conftest import served
from tests.serve.processes import port_told, started
from tests.waiting import until

from cordee.serve.gateway import vitals

VLLM = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 7.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 90.0
vllm:iteration_tokens_total_count{engine="1",model_name="m"} 10.0
"""
SGLANG = """
sglang:num_running_reqs{model_name="m"} 4
sglang:num_queue_reqs{model_name="m"} 2
sglang:token_usage{model_name="m"} 0.125
sglang:generation_tokens_total{model_name="m"} 7.557572e+06
"""
FLEET = """
[gateway]
port = 0
[[pool]]
name = "others"
kind = "openai"
model = "mock"
urls = [{urls}]
"""


def test_what_vllm_tells_is_read_over_all_its_engines() -> None:
    told = vitals.read(VLLM)
    assert told is not None
    assert (told.running, told.waiting, told.cache_used, told.steps) == (5, 1, 0.5, 100)


def test_sglang_tells_no_steps_but_that_it_goes_on() -> None:
    told, later = vitals.read(SGLANG), vitals.read(SGLANG.replace("7.557572e", "7.557600e"))
    assert told is not None
    assert later is not None
    assert (told.running, told.waiting, told.cache_used, told.steps) == (4, 2, 0.125, None)
    assert told.progress != later.progress


def test_others_tell_nothing() -> None:
    assert vitals.read('http_requests_total{path="/"} 5\n') is None
    assert vitals.read("vllm:num_requests_running{} many\n") is None


@pytest.fixture
def engines() -> Iterator[list["subprocess.Popen[str]"]]:
    """Two engines of others."""
    command = [sys.executable, "-m", "cordee.serve.mock", "--tokens-per-s", "40"]
    with started(command, {}) as one, started(command, {}) as other:
        yield [one, other]


def test_an_answer_goes_on_where_a_chip_hangs_behind_a_server_that_answers(
    engines: list["subprocess.Popen[str]"],
) -> None:
    ports = [port_told(engine) for engine in engines]
    urls = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
    with served(FLEET.format(urls=urls), 2) as service:
        said, hung = [], -1
        for chunk in service.client().completions.create(
            model="mock", prompt="Once", seed=5, max_tokens=120, stream=True, timeout=120
        ):
            said += [choice.text for choice in chunk.choices]
            if len(said) == 40:
                (replica,) = [r for r in service.replicas() if r["running"]]
                hung = ports.index(int(replica["url"].rpartition(":")[2]))
                engines[hung].send_signal(signal.SIGUSR1)
        events = {event["kind"]: event["text"] for event in service.status()["events"]}
        assert "no step for" in events["failover"]
        assert service.replicas()[hung]["state"] == "suspect"  # though it answers /health

        again = service.client().completions.create(
            model="mock", prompt="Once", seed=5, max_tokens=120
        )
        assert "".join(said) == again.choices[0].text

        engines[hung].send_signal(signal.SIGUSR2)
        until(lambda: service.replicas()[hung]["state"] == "ready")
