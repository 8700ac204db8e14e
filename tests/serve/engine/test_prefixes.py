"""An engine takes from another what that has computed, and answers as if it had done so itself."""

import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import serving
from tests.serve.models import write_model
from tests.serve.replicas import replica

PROMPT = "A sentence that both have to know before long. " * 12


def ask(url: str) -> tuple[list[int], float]:
    """The tokens of the answer, and the share of the prompt that was in the cache."""
    body = {"prompt": PROMPT, "max_tokens": 20, "temperature": 0, "return_token_ids": True}
    told = httpx.post(f"{url}/v1/completions", json=body, timeout=60).json()
    usage = told["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"]
    return told["choices"][0]["token_ids"], cached


def warm(url: str, peer: str) -> httpx.Response:
    return httpx.post(f"{url}/cordee/warm", json={"peer": peer}, timeout=60)


def test_what_a_peer_has_computed_is_not_computed_again(model_folder: Path) -> None:
    with (
        replica(model_folder, "--threads", "1") as peer,
        replica(model_folder, "--threads", "1", "--canary") as fresh,
    ):
        expected, cached = ask(peer.url)
        assert cached == 0
        taken = warm(fresh.url, peer.url).json()
        assert taken["blocks"] > 5
        found, cached = ask(fresh.url)
        assert found == expected
        assert cached > 0.8
        assert warm(fresh.url, peer.url).json()["blocks"] == 0


def test_nothing_is_taken_from_an_engine_with_other_numerics_or_from_nobody(
    model_folder: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "other", seed=1)
    with (
        replica(other, "--threads", "1") as peer,
        replica(model_folder, "--threads", "1") as fresh,
    ):
        ask(peer.url)
        refused = warm(fresh.url, peer.url)
        assert (refused.status_code, "reckons otherwise" in refused.text) == (400, True)
        assert warm(fresh.url, "http://127.0.0.1:9").status_code == 400
        assert ask(fresh.url)[1] == 0


def test_a_small_cache_takes_what_it_has_room_for(model_folder: Path) -> None:
    with (
        replica(model_folder, "--threads", "1") as peer,
        replica(model_folder, "--threads", "1", "--kv-tokens", "64") as fresh,
    ):
        ask(peer.url)
        assert warm(fresh.url, peer.url).json()["blocks"] == 4


def test_a_replica_that_starts_again_is_warm_before_it_gets_requests(model_folder: Path) -> None:
    with serving(model_folder) as service:
        expected = [ask(one["url"])[0] for one in service.replicas()]
        told = httpx.post(
            f"{service.url}/v1/completions",
            json={"prompt": PROMPT, "max_tokens": 1, "stream": True},
            headers={"X-Cordee-Trace": "1"},
            timeout=60,
        ).text
        peer = next(name for name in ("small-0", "small-1") if f": replica {name}" in told)
        place = 1 if peer == "small-0" else 0
        assert service.act(f"small-{place}", "kill").status_code == 200
        while service.replicas()[place]["restarts"] == 0:
            pass
        service.wait_ready(2)
        ready = [e for e in service.status()["events"] if e["kind"] == "replica-ready"][-1]
        assert f"blocks of its cache from {peer}" in ready["text"]
        found, cached = ask(service.replicas()[place]["url"])
        assert [found] * 2 == expected
        assert cached > 0.8


@pytest.mark.parametrize("chips", [("1", "2"), ("2", "1"), ("2", "2")], ids="to".join)
def test_engines_over_one_chip_and_over_two_warm_each_other(
    model_folder: Path, chips: tuple[str, str]
) -> None:
    options = [("--threads", "1", "--tensor-parallel", count) for count in chips]
    with replica(model_folder, *options[0]) as peer, replica(model_folder, *options[1]) as fresh:
        expected, _ = ask(peer.url)
        assert warm(fresh.url, peer.url).json()["blocks"] > 5
        found, cached = ask(fresh.url)
        assert found == expected
        assert cached > 0.8


@pytest.mark.slow
def test_virtual_ascend_chips_joined_by_hccl_warm_a_single_one(model_folder: Path) -> None:
    run = (sys.executable, "-m", "cordee", "run", "--chip", "Ascend910B3", "--chips", "2", "--")
    options = ("--device", "ascend", "--weights", "float16", "--threads", "1")
    with (
        replica(model_folder, *options, "--tensor-parallel", "2", under=run) as peer,
        replica(model_folder, *options, under=run) as fresh,
    ):
        expected, _ = ask(peer.url)
        assert warm(fresh.url, peer.url).json()["blocks"] > 5
        found, cached = ask(fresh.url)
        assert found == expected
        assert cached > 0.8
