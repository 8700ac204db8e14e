"""What does a link of 20 Mbit/s leave of the speed of training: with DDP, and with workers that train by themselves?

TORCH_DEVICE_BACKEND_AUTOLOAD=0 python benchmarks/weak_links.py [--steps 260] [--warmup 40]: two workers in two
network namespaces, one thread each, train the GPT of examples/nvidia_gpt on its text. DDP is PyTorch's own over gloo: its loss is that of a run on a link
without a limit, its speed that of some steps on the slow one. With `cordee train`, mode `local`, the link is slowed
down when the warm-up is over. Needs to be root, for the namespaces. Writes weak_links.toml. With `--mode adaptive` workers
train by themselves only after the link was found to be slow; writes weak_links-adaptive.toml.
"""

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

import cordee.train as ct
from cordee.core.events import Event, Events, read
from cordee.train.coordinator import Coordinator
from cordee.train.policy.workers import Limits
from cordee.train.worker.job import Mode

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples" / "nvidia_gpt"))
from corpus import batch, load  # noqa: E402
from model import GPT, GPTConfig  # noqa: E402

SPACES = ("cordee-weak-0", "cordee-weak-1")
HOSTS = ("10.78.0.1", "10.78.0.2")
RATE = "20mbit"
SEQUENCES, BLOCK, SHARDS = 2, 32, 2
SECRET = "of-a-benchmark"
RESULT = HERE / "weak_links.toml"


@dataclass(frozen=True)
class Plan:
    """How long is trained."""

    steps: int
    warmup: int

    @property
    def tokens(self) -> int:
        """Of one step, all workers together."""
        return SHARDS * SEQUENCES * BLOCK

    def learning_rate(self, step: int) -> float:
        """As in the example."""
        warm = min(1.0, (step + 1) / 10)
        done = max(0.0, (step - 10) / max(1, self.steps - 10))
        return 6e-4 * min(warm, 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done))))


def model_of() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(1337)
    vocabulary, _, _ = load()
    model = GPT(GPTConfig(len(vocabulary), BLOCK, 6, 4, 256, 0.0))
    made = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)
    return model, made


@torch.no_grad()
def validated(model: nn.Module) -> float:
    _, _, tokens = load()
    batches = [batch(tokens, 16, BLOCK, seed) for seed in range(16)]
    return sum(model(x, y)[1].item() for x, y in batches) / len(batches)


def train_local(plan: Plan, mode: Mode, cadence: ct.Cadence) -> None:
    """A worker of `cordee train`."""
    model, optimizer = model_of()
    _, tokens, _ = load()
    training = ct.Training(model, optimizer, shards=SHARDS, mode=mode, clip=1.0, cadence=cadence)
    began_s = 0.0
    for step in training.steps(plan.steps):
        if step.number == plan.warmup:
            began_s = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate(step.number)
        for shard in step:
            _, loss = model(*batch(tokens, SEQUENCES, BLOCK, 1000 + SHARDS * step.number + shard))
            step.backward(loss)
    tell(model, time.monotonic() - began_s)


def train_ddp(plan: Plan) -> None:
    """A rank of PyTorch's own."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    model, optimizer = model_of()
    parallel = nn.parallel.DistributedDataParallel(model)
    _, tokens, _ = load()
    began_s = 0.0
    for step in range(plan.steps):
        if step == plan.warmup:
            began_s = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate(step)
        _, loss = parallel(*batch(tokens, SEQUENCES, BLOCK, 1000 + SHARDS * step + rank))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    tell(model, time.monotonic() - began_s)
    torch.distributed.destroy_process_group()


def tell(model: nn.Module, took_s: float) -> None:
    """The last line of a worker."""
    numbers = sum(p.numel() for p in model.parameters())
    told = {"loss": validated(model), "seconds": took_s, "parameters": numbers}
    print(json.dumps(told), flush=True)


async def coordinate(plan: Plan, folder: Path) -> None:
    """The coordinator, beside the first worker; slows the link down once the warm-up is over."""
    events = Events(folder / "events.jsonl")
    sent = [0]

    def see(event: Event) -> None:
        if event["kind"] == "commit" and event["step"] == plan.warmup - 1:
            sent[0] = sent_bytes()
            limit(on=True)

    events.watch(see)
    coordinator = Coordinator(Limits(shards=0, workers=2, silent_s=10, hang_s=60), SECRET, events)
    await coordinator.open((HOSTS[0], 0))
    print(coordinator.port, flush=True)
    finish = await coordinator.finished
    print(json.dumps({"error": finish.error, "sent_bytes": sent_bytes() - sent[0]}), flush=True)
    await asyncio.sleep(1.0)
    await coordinator.close()
    events.close()


def sent_bytes() -> int:
    """That the interface of this namespace has sent, all protocols and headers included."""
    return int(Path("/sys/class/net/e0/statistics/tx_bytes").read_text())


def limit(*, on: bool) -> None:
    for space in SPACES:
        subprocess.run(
            ["tc", "-n", space, "qdisc", "del", "dev", "e0", "root"],
            capture_output=True,
            check=False,
        )
        if on:
            shape = ["tbf", "rate", RATE, "burst", "64kb", "latency", "100ms"]
            add = ["tc", "-n", space, "qdisc", "add", "dev", "e0", "root"]
            subprocess.run([*add, *shape], check=True)


@contextmanager
def namespaces() -> Iterator[None]:
    """Two of them, joined by a pair of interfaces. Ends the program where that is not allowed."""
    first, second = SPACES
    orders = [
        f"netns add {first}",
        f"netns add {second}",
        f"-n {first} link add e0 type veth peer name e0 netns {second}",
    ]
    for space, host in zip(SPACES, HOSTS, strict=True):
        orders += [f"-n {space} addr add {host}/24 dev e0", f"-n {space} link set e0 up"]
        orders += [f"-n {space} link set lo up"]
    try:
        for order in orders:
            done = subprocess.run(
                ["ip", *order.split()], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"skipped: `ip {order}`: {done.stderr.strip()}")
        yield
    finally:
        for space in SPACES:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def start(place: int, words: Sequence[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    """This program again, in a namespace, with the options that it was given and more."""
    command = ["ip", "netns", "exec", SPACES[place], sys.executable, *sys.argv]
    plain = {"OMP_NUM_THREADS": "1", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    plain |= {"GLOO_SOCKET_IFNAME": "e0", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, text=True, env=os.environ | plain | variables
    )


def ended(processes: Sequence[subprocess.Popen[str]]) -> dict[str, Any]:
    """What the first of them told, when all have ended."""
    outs = [process.communicate(timeout=1200)[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"a worker failed: {outs}")
    return json.loads(outs[0].splitlines()[-1])


def run_ddp(plan: Plan, port: int) -> dict[str, Any]:
    variables = {"MASTER_ADDR": HOSTS[0], "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    words = ["--role", "ddp", "--steps", str(plan.steps), "--warmup", str(plan.warmup)]
    return ended([start(n, words, variables | {"RANK": str(n)}) for n in range(2)])


def run_local(folder: Path) -> dict[str, Any]:
    words = ["--folder", str(folder)]
    coordinator = start(0, ["--role", "coordinator", *words], {})
    assert coordinator.stdout is not None
    port = coordinator.stdout.readline().strip()
    variables = {"COORDINATOR": f"{HOSTS[0]}:{port}", "SECRET": SECRET}
    workers = []
    for n, host in enumerate(HOSTS):
        mine = variables | {"WORKER": str(n), "HOST": host}
        named = {f"CORDEE_TRAIN_{name}": value for name, value in mine.items()}
        workers.append(start(n, ["--role", "local", *words], named))
    told = ended(workers)
    return told | ended([coordinator])


@click.command()
@click.option(
    "--role", default="measure", type=click.Choice(["measure", "ddp", "local", "coordinator"])
)
@click.option("--mode", default="local", type=click.Choice(["local", "adaptive"]))
@click.option("--steps", default=260, show_default=True)
@click.option("--warmup", default=40, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path))
@click.option("--between", default=16, show_default=True, help="Steps between exchanges, at first.")
@click.option("--most", default=256, show_default=True)
@click.option("--apart", default=0.01, show_default=True)
@click.option("--rate", default=0.7, show_default=True)
@click.option("--momentum", default=0.5, show_default=True)
def main(  # noqa: PLR0913 - an argument is an option
    role: str,
    mode: Mode,
    steps: int,
    warmup: int,
    folder: Path | None,
    between: int,
    most: int,
    apart: float,
    rate: float,
    momentum: float,
) -> None:
    """Measure both ways."""
    plan = Plan(steps, warmup)
    if role == "local":
        cadence = ct.Cadence(
            warmup=warmup, steps=between, most=most, apart=apart, rate=rate, momentum=momentum
        )
        train_local(plan, mode, cadence)
    elif role == "ddp":
        train_ddp(plan)
    elif role == "coordinator":
        assert folder is not None
        asyncio.run(coordinate(plan, folder))
    else:
        measure(plan, mode, folder or Path(tempfile.mkdtemp(prefix="weak-links-")))


def measure(plan: Plan, mode: Mode, folder: Path) -> None:
    with namespaces():
        local = run_local(folder)
        limit(on=False)
        ddp = run_ddp(plan, 29511)
        limit(on=True)
        slow = Plan(6, 2)
        slowed = run_ddp(slow, 29512)
    after = plan.steps - plan.warmup
    local_rate = after * plan.tokens / local["seconds"]
    ddp_rate = (slow.steps - slow.warmup) * slow.tokens / slowed["seconds"]
    told = list(read(folder / "events.jsonl"))
    rounds = [event for event in told if event["kind"] == "exchanged" and event["worker"] == 0]
    rows = {
        "parameters": local["parameters"],
        "link": RATE,
        "warmup_steps": plan.warmup,
        "steps_after": after,
        "tokens_a_step": plan.tokens,
        "ddp_tokens_per_s": round(ddp_rate, 1),
        "ddp_without_limit_tokens_per_s": round(after * plan.tokens / ddp["seconds"], 1),
        f"{mode}_tokens_per_s": round(local_rate, 1),
        "times_the_throughput": round(local_rate / ddp_rate, 1),
        "ddp_loss": round(ddp["loss"], 4),
        f"{mode}_loss": round(local["loss"], 4),
        "loss_percent_above_ddp": round(100 * (local["loss"] / ddp["loss"] - 1), 2),
        "payload_bytes_a_worker": rounds[-1]["sent_bytes"],
        "sent_bytes_a_worker": local["sent_bytes"],
        "times_fewer_bytes_than_float32": round(
            after * 4 * local["parameters"] / local["sent_bytes"], 1
        ),
        "steps_between_exchanges": [event["steps"] for event in rounds],
    }
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in rows.items())
    print(text)
    words = " ".join(sys.argv[1:])
    file = RESULT if mode == "local" else RESULT.with_stem(f"weak_links-{mode}")
    file.write_text(f"# benchmarks/weak_links.py {words}\n[measured]\n{text}\n")


if __name__ == "__main__":
    main()
