"""Do streams survive replicas that are killed, hang, break off, reckon wrongly and lose their chip, one every two seconds?

python benchmarks/storm.py MODEL_DIR [--streams 200] [--seconds 120] [--replicas 6] [--chip Ascend910B3]
python benchmarks/storm.py MODEL_DIR --engine vllm --python VENV/bin/python --replicas 4 --greedy

Every answer is compared with that of an undisturbed run: greedy ones and, without --greedy, sampled ones. Writes what
it saw to storm-cpu.json, storm-ascend.json or storm-vllm.json beside this file. vLLM takes long to start: it is killed
as soon as all are there again; between, its connections are reset (`ss -K`, by root) and it is stopped for 1 s or
for 8 s, of which only the latter is noticed.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from cordee.core.http.client import Client, Stream
from cordee.core.http.loop import run
from cordee.emulator import faults

FAULTS = {
    "cordee": ("kill", "hang", "reset", "corrupt"),
    "chips": ("kill", "hang", "reset", "corrupt", "lose"),
    "vllm": ("reset", "stop", "reset", "hang", "kill"),
}
LOST_S = 1.0
"""So long after its loss a virtual chip is repaired."""
STOPPED_S = {"stop": 1.0, "hang": 8.0}
"""So long a vLLM is stopped; ours is killed by its pool when it hangs."""
TRIES = 8
POOLS = {
    "cordee": 'arguments = ["--canary", "--faults"]',
    "vllm": 'kind = "vllm"\npython = "{python}"\n'
    'arguments = ["--max-model-len", "1024", "--enforce-eager", "--dtype", "float32"]',
}
GREEDY: list[bool] = []
"""Not empty: no request is sampled."""
WORDS = [
    "def",
    "class",
    "import",
    "return",
    "self",
    "raise",
    "for",
    "in",
    "while",
    "if",
    "else",
    "with",
    "open",
    "as",
    "try",
    "except",
]


@dataclass
class Answer:
    """What a client saw of one request."""

    number: int
    text: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, int] | None = None
    error: str | None = None
    moves: int = 0
    gaps_s: list[float] = field(default_factory=list)
    last_s: float = 0.0

    @property
    def said(self) -> tuple[str, tuple[int, ...], str | None, int | None]:
        counted = self.usage["completion_tokens"] if self.usage else None
        return "".join(self.text), tuple(self.ids), self.finish, counted


def body_of(number: int, tokens: int) -> dict[str, object]:
    """Request `number`: every second one sampled, all with prompts of their own."""
    prompt = " ".join(WORDS[(number * 7 + i * i) % len(WORDS)] for i in range(4 + number % 9))
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": f"{prompt} {number}"}],
        "max_tokens": tokens + number % 40,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "temperature": 0,
    }
    if number % 2 and not GREEDY:
        body |= {"temperature": 0.8, "top_p": 0.95, "seed": number, "frequency_penalty": 0.2}
    return body


async def ask(client: Client, url: str, number: int, tokens: int) -> Answer:
    answer, done = Answer(number), asyncio.get_running_loop().create_future()
    rest = b""

    def data(piece: bytes) -> None:
        nonlocal rest
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            hear(answer, event)

    stream = Stream(
        lambda status, _: None if status == 200 else setattr(answer, "error", f"status {status}"),
        data,
        lambda error: done.set_result(error),
    )
    headers = {"X-Cordee-Trace": "1"}
    body = json.dumps(body_of(number, tokens)).encode()
    await client.begin(stream, f"{url}/v1/chat/completions", body=body, headers=headers)
    error = await done
    answer.error = answer.error or (str(error) if error else None)
    return answer


def hear(answer: Answer, event: bytes) -> None:
    moved = False
    for line in event.split(b"\n"):
        if line.startswith(b": replica"):
            answer.moves += 1
            moved = answer.moves > 1
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            answer.error = chunk["error"]["message"]
            continue
        answer.usage = chunk.get("usage") or answer.usage
        now = time.monotonic()
        for choice in chunk["choices"]:
            answer.text.append(choice["delta"].get("content") or "")
            answer.ids += choice.get("token_ids") or []
            answer.finish = choice["finish_reason"] or answer.finish
            if moved:
                answer.gaps_s.append(now - answer.last_s)
            answer.last_s = now


async def strike(
    client: Client, url: str, until_s: float, every_s: float, engine: str
) -> dict[str, int]:
    """One fault after another, on the replica with the most requests of those that are ready."""
    kinds = FAULTS[engine]
    struck = dict.fromkeys(kinds, 0)
    turn, due_s = 0, time.monotonic() + every_s
    while due_s < until_s:
        await asyncio.sleep(max(0.05, due_s - time.monotonic()))
        state = json.loads((await client.request(f"{url}/cordee/status")).body)
        all_ = [r for p in state["pools"] for r in p["replicas"]]
        ready = [r for r in all_ if r["state"] == "ready"]
        if len(ready) < 2:
            if time.monotonic() > until_s:
                break  # one that takes minutes to start will not be back
            continue  # somebody must be left to go on
        fault = kinds[turn % len(kinds)]
        turn, due_s = turn + 1, max(due_s, time.monotonic() - every_s) + every_s
        if engine == "vllm" and fault == "kill" and len(ready) < len(all_):
            fault = "reset"  # one is on its way back
        victim = max(ready, key=lambda r: r["running"])
        if engine == "vllm" and fault == "reset":
            reset(victim["url"])
        elif fault == "lose":
            RESUMED.append(asyncio.ensure_future(lose(victim)))
        else:
            action = "hang" if fault == "stop" else fault
            await client.request(f"{url}/cordee/replicas/{victim['name']}/{action}", method="POST")
        struck[fault] += 1
        if engine == "vllm" and fault in STOPPED_S:
            again = f"{url}/cordee/replicas/{victim['name']}/resume"
            RESUMED.append(asyncio.ensure_future(resume(client, again, STOPPED_S[fault])))
    return struck


RESUMED: "list[asyncio.Future[None]]" = []


async def resume(client: Client, url: str, after_s: float) -> None:
    """Let one go on that was stopped."""
    await asyncio.sleep(after_s)
    await client.request(url, method="POST")


async def lose(victim: dict[str, Any]) -> None:
    """Take a virtual chip from its machine, as `cordee fault kill` does, and give it back."""
    words = Path(f"/proc/{victim['pid']}/environ").read_text().split("\0")
    machine = next(w.partition("=")[2] for w in words if w.startswith("CORDEE_MACHINE="))
    given = faults.strike(machine, faults.ChipLost(chip=victim["chips"][0]))
    await asyncio.sleep(LOST_S)
    faults.repair(machine, [entry.number for entry in given])


def reset(url: str) -> None:
    """Break all connections to an engine, as its host does where it fails: both sides see a reset."""
    port = url.rpartition(":")[2].strip("/")
    subprocess.run(["ss", "-K", "sport", "=", f":{port}"], check=True, stdout=subprocess.DEVNULL)


async def storm(
    url: str, streams: int, seconds: float, tokens: int, every_s: float, engine: str
) -> dict[str, object]:
    client = Client()
    numbers = iter(range(10**9))
    began, answers = time.monotonic(), []
    until_s = began + seconds

    async def one_after_another() -> None:
        while time.monotonic() < until_s:
            answers.append(await ask(client, url, next(numbers), tokens))

    strikes = asyncio.ensure_future(strike(client, url, until_s, every_s, engine))
    await asyncio.gather(*(one_after_another() for _ in range(streams)))
    struck = await strikes
    await asyncio.gather(*RESUMED)
    stormy_s = time.monotonic() - began
    print(f"{len(answers)} answers in {stormy_s:.0f} s, {struck}; now undisturbed", file=sys.stderr)
    print(*{answer.error for answer in answers if answer.error}, sep="\n", file=sys.stderr)
    await asyncio.sleep(3.0)
    limit = asyncio.Semaphore(min(64, streams))

    async def calm(number: int) -> Answer:
        async with limit:
            for _ in range(TRIES):  # on a machine that is too busy vLLM hangs undisturbed
                answer = await ask(client, url, number, tokens)
                if not answer.error:
                    break
            return answer

    undisturbed = await asyncio.gather(*(calm(answer.number) for answer in answers))
    known = {answer.number: answer.said for answer in undisturbed}
    gaps = sorted(gap for answer in answers for gap in answer.gaps_s)
    failed = [answer for answer in answers if answer.error]
    await client.close()
    return {
        "streams": streams,
        "seconds": round(stormy_s, 1),
        "faults": struck,
        "requests": len(answers),
        "failed": len(failed),
        "why": sorted({str(answer.error) for answer in failed})[:3],
        "moved": sum(answer.moves > 1 for answer in answers),
        "moves": sum(max(0, answer.moves - 1) for answer in answers),
        "different": sum(a.said != known[a.number] for a in answers if not a.error),
        "miscounted": sum(len(a.ids) != tokens + a.number % 40 for a in answers if not a.error),
        "tokens": sum(len(answer.ids) for answer in answers),
        "gap_s": {q: round(gaps[int(q * (len(gaps) - 1))], 3) for q in (0.5, 0.99, 1.0)}
        if gaps
        else {},
    }


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--streams", default=200)
@click.option("--seconds", default=120.0)
@click.option("--replicas", default=6)
@click.option("--tokens", default=60)
@click.option("--every", "every_s", default=2.0, help="Seconds from one fault to the next.")
@click.option("--chip", help="Virtual Ascend instead of the CPU.")
@click.option("--engine", type=click.Choice(list(POOLS)), default="cordee")
@click.option("--python", default="", help="Of the environment with vLLM.")
@click.option("--greedy", is_flag=True, help="No request is sampled.")
@click.option("--url", default="", help="Of a service that runs already; else one is started.")
def main(model: Path, replicas: int, chip: str | None, engine: str, python: str, **of: Any) -> None:
    if of.pop("greedy"):
        GREEDY.append(True)
    if url := of.pop("url"):
        kind = "chips" if chip and engine == "cordee" else engine
        written(run(storm(url, engine=kind, **of)), engine, "ascend" if chip else "cpu")
        return
    device = "ascend" if chip else "cpu"
    kind = POOLS[engine].format(python=python)
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"storm-{os.getpid()}"
    folder.mkdir()
    fleet = folder / "fleet.toml"
    fleet.write_text(
        "[gateway]\nport = 0\nmax_queue = 1000\n[[pool]]\n"
        f'name = "storm"\nmodel = "{model.resolve()}"\nreplicas = {replicas}\n'
        f'device = "{device}"\nthreads = 1\n{kind}\n'
    )
    under = ["-m", "cordee", "run", "--chip", chip, "--chips", str(replicas), "--", sys.executable]
    command = [
        sys.executable,
        *(under if chip else []),
        "-m",
        "cordee",
        "serve",
        "--fleet",
        str(fleet),
    ]
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = next((line for line in process.stdout if "listening on" in line), None)
    if line is None:
        raise SystemExit(f"the service did not start: {log.name}")
    try:
        url = line.split("listening on ")[1].strip().removesuffix("/v1")
        os.set_blocking(process.stdout.fileno(), True)
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=log)
        wait_ready(url, replicas)
        struck_as = "chips" if chip else engine
        written(run(storm(url, engine=struck_as, **of)), engine, device)
    finally:
        process.terminate()
        process.wait(30)
        drain.kill()


def written(seen: dict[str, object], engine: str, device: str) -> None:
    text = json.dumps(seen, indent=1)
    print(text)
    name = f"storm-{engine if engine == 'vllm' else device}.json"
    Path(__file__).with_name(name).write_text(text + "\n")


def wait_ready(url: str, replicas: int) -> None:
    async def wait() -> None:
        client = Client()
        while True:
            state = json.loads((await client.request(f"{url}/cordee/status")).body)
            if (
                sum(r["state"] == "ready" for p in state["pools"] for r in p["replicas"])
                == replicas
            ):
                break
            await asyncio.sleep(0.1)
        await client.close()

    run(wait())


if __name__ == "__main__":
    main()
