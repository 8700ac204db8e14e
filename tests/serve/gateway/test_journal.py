"""A gateway is killed in the middle of answers; another one with the same journal goes on, to the byte."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import over
from tests.serve.gateway.test_streams import chunks, plain
from tests.serve.replicas import replica
from tests.waiting import until

BODY = {
    "messages": [{"role": "user", "content": "Tell me about parsers."}],
    "max_tokens": 500,
    "ignore_eos": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.9,  # without a seed: the other gateway has to find the same one
}


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Iterator[str]:
    with replica(model_folder, "--threads", "1", "--name", "small") as running:
        yield running.url


def read_until(
    url: str, body: dict[str, object], count: int
) -> tuple[list[dict[str, object]], str]:
    """The first chunks of an answer, and where its client was then."""
    made, last = [], ""
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as reply:
        for line in reply.iter_lines():
            last = line[4:] if line.startswith("id: ") else last
            if line.startswith("data: {"):
                made.append(json.loads(line[6:]))
                if len(made) == count:
                    break
    return made, last


def rest(url: str, last: str) -> list[dict[str, object]]:
    name = last.rpartition(".")[0]
    where = f"{url}/v1/streams/{name}"
    with httpx.stream("GET", where, headers={"Last-Event-ID": last}, timeout=60) as reply:
        assert reply.status_code == 200
        return list(chunks(reply.iter_lines()))


def whole(url: str, last: str) -> list[dict[str, object]]:
    """The same answer from its beginning: its seed follows from its name."""
    name = last.rpartition(".")[0]
    headers = {"Last-Event-ID": f"{name}.0"}
    path = f"{url}/v1/chat/completions"
    with httpx.stream("POST", path, json=BODY, headers=headers, timeout=60) as reply:
        return list(chunks(reply.iter_lines()))


def alike(made: list[dict[str, object]]) -> list[dict[str, object]]:
    """Less when it was asked, and what happened to lie in a cache."""
    return [plain(dict(chunk)) for chunk in made]


def struck(
    url: str, process: "subprocess.Popen[str]", journal: Path, tokens: int
) -> tuple[list[dict[str, object]], str]:
    """What a client has of an answer whose gateway is killed after so many tokens, before it is whole."""
    for _ in range(20):
        made, last = struck_once(url, process, journal, tokens)
        if process.poll() is not None:
            return made, last
    raise AssertionError("answers were whole before the gateway could be killed")


def struck_once(
    url: str, process: "subprocess.Popen[str]", journal: Path, tokens: int
) -> tuple[list[dict[str, object]], str]:
    made, last = [], ""
    with (
        suppress(httpx.TransportError),
        httpx.stream("POST", f"{url}/v1/chat/completions", json=BODY, timeout=60) as reply,
    ):
        for line in reply.iter_lines():
            last = line[4:] if line.startswith("id: ") else last
            if line.startswith("data: {"):
                made.append(json.loads(line[6:]))
                if len(made) == tokens and is_there(journal):
                    process.kill()
                    process.wait()
    return made, last


def is_there(journal: Path) -> bool:
    """Whether a stream is in the journal within a while; one that is whole leaves it."""
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        if list(journal.glob("*.stream")):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("tokens", [2, 250], ids=["at once", "in the middle"])
def test_a_killed_gateways_stream_goes_on_at_another_one(
    engine: str, tmp_path: Path, tokens: int
) -> None:
    settings = {"journal": str(tmp_path), "request_timeout_s": 60}
    with over([engine], **settings) as (first, process), over([engine], **settings) as (other, _):
        made, last = struck(first, process, tmp_path, tokens)
        assert process.wait(10) == -signal.SIGKILL
        assert len(made) < 501
        made += rest(other, last)
        assert alike(made) == alike(whole(other, last))
        assert len({chunk["id"] for chunk in made}) == 1
        until(lambda: not list(tmp_path.glob("*.stream")))


def test_a_client_that_left_one_gateway_comes_back_at_another(engine: str, tmp_path: Path) -> None:
    with over([engine], journal=str(tmp_path)) as (first, _):
        made, last = read_until(first, BODY, 100)
        with over([engine], journal=str(tmp_path)) as (other, _):
            made += rest(other, last)
            assert alike(made) == alike(whole(other, last))


def test_files_are_gone_when_answers_are_whole(engine: str, tmp_path: Path) -> None:
    with over([engine], journal=str(tmp_path / "new")) as (url, process):
        read_until(url, BODY | {"max_tokens": 20}, 1000)
        (tmp_path / "new" / "notes.txt").write_text("of somebody else")
        process.terminate()
        assert process.wait(20) == 0
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["notes.txt"]


def test_what_nobody_came_back_for_is_swept_and_nothing_else(engine: str, tmp_path: Path) -> None:
    old = tmp_path / f"chatcmpl-{'0' * 24}.stream"
    for file in (old, tmp_path / "notes.stream"):
        file.write_text("{}\n")
        os.utime(file, (0, 0))
    with over([engine], journal=str(tmp_path)):
        until(lambda: not old.exists())
    assert (tmp_path / "notes.stream").exists()


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fsecret", "..", "chatcmpl-" + "0" * 23 + "%2F", "/etc/passwd", "%00"]
)
def test_an_id_that_is_a_path_is_refused(engine: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.stream").write_text('{"path":"/","body":{},"key":"","priority":0}\n')
    folder = tmp_path / "a" / "b"
    with over([engine], journal=str(folder)) as (url, _):
        reply = httpx.get(f"{url}/v1/streams/{name}", headers={"Last-Event-ID": f"{name}.0"})
        assert reply.status_code in (400, 404)
        posted = httpx.post(
            f"{url}/v1/chat/completions", json=BODY, headers={"Last-Event-ID": f"{name}.0"}
        )
        assert posted.status_code == 400


def test_another_keys_stream_is_none_of_ones_business(engine: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nname = "a"\nkey = "one"\n[[key]]\nname = "b"\nkey = "two"\n')
    folder = tmp_path / "journal"
    head = {"path": "/v1/chat/completions", "body": BODY, "key": "a", "priority": 0}
    name = f"chatcmpl-{'1' * 24}"
    folder.mkdir()
    (folder / f"{name}.stream").write_text(
        json.dumps(head | {"pool": "engines", "bases": [0]}) + "\n"
    )
    program = {"journal": str(folder), "keys": str(keys)}
    with over([engine], **program) as (url, _):
        codes = [
            httpx.get(
                f"{url}/v1/streams/{name}?after=1", headers={"Authorization": f"Bearer {key}"}
            ).status_code
            for key in ("two", "one")
        ]
    assert codes == [404, 200]


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    (tmp_path / "file").touch()
    fleet.write_text(
        '[gateway]\nport = 0\njournal = "file"\n'
        '[[pool]]\nname = "o"\nkind = "openai"\nmodel = "m"\nurls = ["http://127.0.0.1:9"]\n'
    )
    command = [sys.executable, "-m", "cordee", "serve", "--fleet", str(fleet)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: [gateway] journal: {tmp_path / 'file'}: ")
