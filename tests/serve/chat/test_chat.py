"""Does `cordee chat` talk, remember, take commands and survive what happens to the service?"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, serving


@pytest.fixture(scope="module")
def service(model_folder: Path) -> Iterator[Service]:
    with serving(model_folder, replicas=2) as running:
        yield running


def chat(
    url: str, *lines: str, options: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cordee", "chat", "--url", url, "--temperature", "0", *options]
    text = "\n".join(lines) + "\n"
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=60, check=False
    )


def answer(service: Service, messages: list[dict[str, str]]) -> str:
    body = {"messages": messages, "temperature": 0, "max_tokens": 12}
    reply = httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=60)
    return reply.json()["choices"][0]["message"]["content"]


def test_it_says_what_the_model_says_and_remembers(service: Service) -> None:
    talked = chat(service.url, "Hello", "And then?", options=("--max-tokens", "12"))
    assert talked.returncode == 0, talked.stderr
    first = answer(service, [{"role": "user", "content": "Hello"}])
    told = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": first}]
    second = answer(service, [*told, {"role": "user", "content": "And then?"}])
    assert first.strip() in talked.stdout
    assert second.strip() in talked.stdout


def test_commands_change_what_follows(service: Service) -> None:
    talked = chat(
        service.url, "/set max_tokens 12", "/system Be kind", "/help", "Hello", "/quit", "x"
    )
    messages = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hello"}]
    assert answer(service, messages).strip() in talked.stdout
    assert "/new" in talked.stdout


def test_it_shows_which_replica_speaks(service: Service) -> None:
    talked = chat(service.url, "Hello", options=("--max-tokens", "5", "--trace"))
    assert "[small-" in talked.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "ftp://x", "nonsense"])
def test_where_no_service_is_it_says_so(url: str) -> None:
    talked = chat(url, "Hello")
    assert talked.returncode == 2
    assert url in talked.stderr
    assert "Traceback" not in talked.stderr
