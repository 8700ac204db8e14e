"""Does a model over two chips answer as one on one chip does, and end when a chip is lost?"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.serve.replicas import Replica, replica

TWO = ("--tensor-parallel", "2", "--threads", "1")
ON_CHIPS = (sys.executable, "-m", "cordee", "run", "--chip", "Ascend910B3", "--chips", "2", "--")


def ask(engine: Replica, prompt: str, **options: object) -> dict[str, object]:
    body = {"prompt": prompt, "max_tokens": 20, "return_token_ids": True, "seed": 3, **options}
    reply = httpx.post(f"{engine.url}/v1/completions", json=body, timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


def test_two_parts_give_the_bits_of_the_whole(model_folder: Path) -> None:
    prompts = ["def parse(", "import os", "The parser adds " * 9]
    with replica(model_folder, "--threads", "1") as one, replica(model_folder, *TWO) as two:
        assert [ask(two, p) for p in prompts] == [ask(one, p) for p in prompts]
        told = [httpx.get(f"{e.url}/cordee/engine").json()["numerics"] for e in (one, two)]
        assert told[0] == told[1]


def test_the_same_over_two_virtual_ascend_chips_with_hccl(model_folder: Path) -> None:
    arguments = ("--device", "ascend", "--weights", "float16", "--threads", "1")
    with replica(model_folder, *arguments, under=ON_CHIPS) as one:
        expected = ask(one, "def parse(", temperature=0)
    with replica(model_folder, *arguments, *TWO[:2], under=ON_CHIPS) as two:
        assert ask(two, "def parse(", temperature=0) == expected


def test_an_engine_ends_when_one_of_its_chips_is_lost(model_folder: Path) -> None:
    with replica(model_folder, *TWO) as engine:
        children = Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children")
        follower = int(children.read_text().split()[0])
        with httpx.stream(
            "POST",
            f"{engine.url}/v1/completions",
            json={"prompt": "x", "max_tokens": 900, "stream": True, "ignore_eos": True},
            timeout=60,
        ) as stream:
            lines = stream.iter_lines()
            next(lines)
            os.kill(follower, signal.SIGKILL)
            # Gloo may notice first, or whoever watches the process.
            assert any("the engine has failed" in line for line in lines)
        assert engine.process.wait(20) == 70


@pytest.mark.parametrize(("count", "words"), [("3", "cannot be cut into 3 parts")])
def test_a_model_that_cannot_be_cut_says_so(model_folder: Path, count: str, words: str) -> None:
    command = [sys.executable, "-m", "cordee.serve.replica", "--model", str(model_folder)]
    ended = subprocess.run(
        [*command, "--tensor-parallel", count],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
