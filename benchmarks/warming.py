"""Is a new engine warm sooner by asking it the hot prompts again, or by taking a peer's blocks?

python benchmarks/warming.py MODEL_DIR [--prompts 8] [--tokens 448]: engines on the CPU, one thread each. Prompts
are asked of a first engine, which then is the peer; of two new ones one is asked them again, eight at a time and
for one token, the other takes the blocks. Then each is asked every prompt: the times are those of the first token.
Writes warming.toml.
"""

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent


@contextmanager
def engine(model: Path) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "cordee.serve.replica",
        "--model",
        str(model),
        "--threads",
        "1",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['ready']['port']}"
    finally:
        process.kill()
        process.wait()


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


def ask(url: str, prompt: list[int]) -> dict[str, Any]:
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "return_token_ids": True}
    return post(url + "/v1/completions", body)


def all_of(url: str, prompts: list[list[int]]) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda prompt: ask(url, prompt), prompts))
    return time.perf_counter() - began


def check(url: str, prompts: list[list[int]]) -> tuple[list[Any], float, float]:
    """Answers, the median time of one, and the share of the prompts that was in the cache."""
    answers, times, cached, total = [], [], 0, 0
    for prompt in prompts:
        began = time.perf_counter()
        answer = ask(url, prompt)
        times.append(time.perf_counter() - began)
        answers.append(answer["choices"][0]["token_ids"])
        cached += answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        total += answer["usage"]["prompt_tokens"]
    return answers, sorted(times)[len(times) // 2], cached / total


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.option("--prompts", "count", default=8, show_default=True)
@click.option("--tokens", default=448, show_default=True)
def main(model: Path, count: int, tokens: int) -> None:
    """Measure both ways."""
    drawn = random.Random(0)
    prompts = [[drawn.randrange(10, 1000) for _ in range(tokens)] for _ in range(count)]
    rows = [f"# benchmarks/warming.py {model.name}: {count} prompts of {tokens} tokens"]
    with engine(model) as peer:
        all_of(peer, prompts)
        expected, _, _ = check(peer, prompts)
        for way in ("asked again", "taken from a peer", "not at all"):
            with engine(model) as fresh:
                began, told = time.perf_counter(), 0
                if way == "asked again":
                    all_of(fresh, prompts)
                elif way == "taken from a peer":
                    told = post(fresh + "/cordee/warm", {"peer": peer})["bytes"]
                warm_s = time.perf_counter() - began
                answers, first_s, cached = check(fresh, prompts)
                assert answers == expected
                rows.append(
                    f'[[measured]]\nmodel = "{model.name}"\nway = "{way}"\nseconds = {warm_s:.3f}\n'
                    f"megabytes = {told / 1e6:.1f}\ncached_share = {cached:.3f}\n"
                    f"ttft_afterwards_s = {first_s:.4f}"
                )
                print(rows[-1])
    with (HERE / "warming.toml").open("a") as file:
        file.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
