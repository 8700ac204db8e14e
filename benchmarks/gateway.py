"""What does a gateway cost for each streamed token, in CPU and in time?

python benchmarks/gateway.py [--streams 64] [--rate 50] [--seconds 10] [--peers FOLDER]

Streams of a mock engine go through each gateway in turn: ours with its journal, nginx, and from FOLDER/bin
vllm-router and litellm where they are installed. CPU is that of the gateway's processes; the delay of a token is
measured by the client, from when it was due, and beside it that without any gateway. Writes gateway.toml.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from cordee.core.http.client import Client, Stream, Unreachable
from cordee.core.http.loop import run

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """What the client measured through one gateway."""

    name: str
    us_per_token: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    tokens: int

    def row(self) -> str:
        return (
            f'[[gateway]]\nname = "{self.name}"\ncpu_us_per_token = {self.us_per_token:.1f}\n'
            f"delay_p50_ms = {self.p50_ms:.2f}\ndelay_p99_ms = {self.p99_ms:.2f}\n"
            f"rss_mb = {self.rss_mb:.0f}\ntokens = {self.tokens}\n"
        )


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found


def cpu_s(pid: int) -> float:
    total = 0.0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(") ", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def rss_mb(pid: int) -> float:
    total = 0.0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) / 1024
    return total


async def load(url: str, streams: int, rate: float, seconds: float) -> tuple[int, list[float]]:
    """Streams of tokens; gives how many came, and by how much each was later than the earliest ones."""
    client, tokens = Client(), 0
    late_s: list[float] = []
    body = {
        "model": "mock",
        "stream": True,
        "max_tokens": int(rate * seconds),
        "messages": [{"role": "user", "content": "x"}],
    }

    async def one(number: int) -> None:
        nonlocal tokens
        done: asyncio.Future[Unreachable | None] = asyncio.get_running_loop().create_future()
        times: list[float] = []

        def data(piece: bytes) -> None:
            now = time.perf_counter()
            times.extend([now] * piece.count(b"data: {"))

        stream = Stream(lambda *_: None, data, done.set_result)
        given = json.dumps(body | {"seed": number}).encode()
        headers = {"Authorization": "Bearer sk-none"}
        await client.begin(stream, url + "/v1/chat/completions", body=given, headers=headers)
        error = await done
        if error is not None:
            raise error
        tokens += len(times)
        # Tokens are due at a steady rate: the earliest of a stream say when.
        offsets = [at - place / rate for place, at in enumerate(times)]
        base = statistics.quantiles(offsets, n=50)[0]
        late_s.extend(max(0.0, offset - base) for offset in offsets[5:-1])

    await asyncio.gather(*(one(number) for number in range(streams)))
    await client.close()
    return tokens, late_s


@contextmanager
def process(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()


def port_of(started: "subprocess.Popen[str]") -> int:
    assert started.stdout is not None
    return int(json.loads(started.stdout.readline())["ready"]["port"])


def ours(mock: int, port: int, folder: Path) -> list[str]:
    fleet = folder / "fleet.toml"
    fleet.write_text(
        f"[gateway]\nport = {port}\nreplica_requests = 10000\nmax_queue = 10000\n[[pool]]\n"
        f'name = "mock"\nmodel = "mock"\nurls = ["http://127.0.0.1:{mock}"]\n'
    )
    return [sys.executable, "-m", "cordee", "serve", "--fleet", str(fleet)]


def nginx(mock: int, port: int, folder: Path) -> list[str]:
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;\n"
        "events { worker_connections 4096; }\nhttp { access_log off;\n"
        f"client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n"
        f"uwsgi_temp_path {folder}; scgi_temp_path {folder};\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_buffering off;\n"
        f'proxy_http_version 1.1; proxy_set_header Connection "";\n'
        f"proxy_pass http://127.0.0.1:{mock}; }} }} }}\n"
    )
    return ["nginx", "-c", str(config)]


def vllm_router(mock: int, port: int, folder: Path, peers: Path) -> list[str]:
    return [
        str(peers / "bin" / "vllm-router"), "--worker-urls", f"http://127.0.0.1:{mock}",
        "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin",
        "--prometheus-port", str(port + 1), "--log-level", "error",
    ]  # fmt: skip


def sglang_router(mock: int, port: int, folder: Path, peers: Path) -> list[str]:
    return [
        str(peers / "bin" / "python"), "-m", "sglang_router.launch_router",
        "--worker-urls", f"http://127.0.0.1:{mock}", "--host", "127.0.0.1", "--port", str(port),
        "--policy", "round_robin", "--prometheus-port", str(port + 1), "--log-level", "error",
    ]  # fmt: skip


def litellm(mock: int, port: int, folder: Path, peers: Path) -> list[str]:
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: mock\n    litellm_params:\n      model: openai/mock\n"
        f"      api_base: http://127.0.0.1:{mock}/v1\n      api_key: none\n"
        "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n"
    )
    return [
        str(peers / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1",
        "--port", str(port), "--telemetry", "False",
    ]  # fmt: skip


async def wait_for(url: str, most_s: float = 90) -> None:
    client, end = Client(), time.monotonic() + most_s
    body = {"model": "mock", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    while True:
        try:
            reply = await client.request(
                url + "/v1/chat/completions", method="POST", body=json.dumps(body).encode(),
                headers={"Authorization": "Bearer sk-none"}, timeout_s=5,
            )  # fmt: skip
            if reply.status == 200:
                break
        except Unreachable:
            pass
        if time.monotonic() > end:
            raise TimeoutError(url)
        await asyncio.sleep(0.3)
    await client.close()


async def healthy(url: str, most_s: float = 60) -> None:
    """Wait until a gateway answers, without a token."""
    client, end = Client(), time.monotonic() + most_s
    while time.monotonic() < end:
        try:
            if (await client.request(url + "/health", timeout_s=5)).status == 200:
                break
        except Unreachable:
            await asyncio.sleep(0.1)
    await client.close()


def measure(name: str, url: str, pid: int | None, load_of: tuple[int, float, float]) -> Seen:
    run(wait_for(url))
    before = cpu_s(pid) if pid else 0.0
    tokens, late_s = run(load(url, *load_of))
    used_s = (cpu_s(pid) - before) if pid else 0.0
    cuts = statistics.quantiles(late_s, n=100)
    return Seen(
        name,
        used_s / tokens * 1e6,
        cuts[49] * 1e3,
        cuts[98] * 1e3,
        rss_mb(pid) if pid else 0,
        tokens,
    )


def idle(url: str, pid: int, streams: int) -> float:
    """MB of the gateway with so many streams that say nothing."""

    async def hold() -> float:
        client = Client()
        body = json.dumps({"model": "mock", "stream": True, "max_tokens": 100_000,
                           "messages": [{"role": "user", "content": "x"}]}).encode()  # fmt: skip
        held = [Stream(lambda *_: None, lambda _: None, lambda _: None) for _ in range(streams)]
        for stream in held:
            await client.begin(stream, url + "/v1/chat/completions", body=body)
        await asyncio.sleep(3)
        return rss_mb(pid)

    return run(hold())


@click.command()
@click.option("--streams", default=64)
@click.option("--rate", default=50.0)
@click.option("--seconds", default=10.0)
@click.option("--rounds", default=3)
@click.option("--peers", type=click.Path(path_type=Path), help="A venv with the other gateways.")
@click.option("--write/--no-write", default=True)
def main(
    streams: int, rate: float, seconds: float, rounds: int, peers: Path | None, write: bool
) -> None:
    makers: dict[str, Callable[[int, int, Path], list[str]]] = {"cordee": ours}
    if shutil.which("nginx"):
        makers["nginx"] = nginx
    for name, maker in (
        ("vllm-router", vllm_router),
        ("sglang-router", sglang_router),
        ("litellm", litellm),
    ):
        if peers is not None and (peers / "bin").exists():
            makers[name] = lambda mock, port, folder, maker=maker: maker(mock, port, folder, peers)
    found: dict[str, list[Seen]] = {}
    engine = [sys.executable, "-m", "cordee.serve.mock", "--tokens-per-s", str(rate)]
    with process(engine) as mock, tempfile.TemporaryDirectory() as folder:
        at = port_of(mock)
        for _ in range(rounds):
            direct = measure("none", f"http://127.0.0.1:{at}", None, (streams, rate, seconds))
            found.setdefault("none", []).append(direct)
            for number, (name, maker) in enumerate(makers.items()):
                port = 21000 + 10 * number
                with process(maker(at, port, Path(folder))) as gateway:
                    try:
                        seen = measure(
                            name, f"http://127.0.0.1:{port}", gateway.pid, (streams, rate, seconds)
                        )
                    except (TimeoutError, Unreachable) as error:
                        print(f"# {name}: {error}")
                        continue
                    print(seen, flush=True)
                    found.setdefault(name, []).append(seen)
        with (
            process([*engine[:-1], "0.01"]) as quiet,
            process(ours(port_of(quiet), 21900, Path(folder))) as gateway,
        ):
            run(healthy("http://127.0.0.1:21900"))
            held = idle("http://127.0.0.1:21900", gateway.pid, 2000)
    report(found, streams, rate, held, write)


def report(
    found: dict[str, list[Seen]], streams: int, rate: float, held: float, write: bool
) -> None:
    rows = [middle(seen) for seen in found.values()]
    text = f"# benchmarks/gateway.py: {streams} streams of {rate:g} tokens/s; medians of rounds\n"
    text += f"idle_streams = 2000\nidle_rss_mb = {held:.0f}\n" + "\n".join(
        row.row() for row in rows
    )
    mine = next(row for row in rows if row.name == "cordee")
    direct = next(row for row in rows if row.name == "none")
    text += (
        f"[added]\np50_ms = {mine.p50_ms - direct.p50_ms:.2f}\n"
        f"p99_ms = {mine.p99_ms - direct.p99_ms:.2f}\n"
    )
    for row in rows:
        if row.name not in ("cordee", "none"):
            text += f"cpu_of_{row.name.replace('-', '_')} = {row.us_per_token / mine.us_per_token:.2f}\n"
    print(text)
    if write:
        (HERE / "gateway.toml").write_text(text)


def middle(seen: list[Seen]) -> Seen:
    """The median of each number."""
    return Seen(
        seen[0].name,
        *(
            statistics.median(getattr(one, field) for one in seen)
            for field in ("us_per_token", "p50_ms", "p99_ms", "rss_mb")
        ),
        tokens=seen[0].tokens,
    )


if __name__ == "__main__":
    main()
