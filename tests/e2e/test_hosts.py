"""Two hosts: two network namespaces with a cable between them, and a virtual machine in each."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PYTHON = sys.executable
ADDRESSES = ("10.88.7.1", "10.88.7.2")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Hosts:
    """The two namespaces, and the cable's end in each."""

    def __init__(self) -> None:
        number = os.getpid() % 10000
        self.names = (f"cordee-a{number}", f"cordee-b{number}")
        self.ends = (f"ca{number}", f"cb{number}")

    def open(self) -> None:
        for name in self.names:
            ip("netns", "add", name)
        (a, b), (end_a, end_b) = self.names, self.ends
        ip("link", "add", end_a, "netns", a, "type", "veth", "peer", "name", end_b, "netns", b)
        for name, end, address in zip(self.names, self.ends, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")

    def close(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def limit(self, rate: str) -> None:
        for name, end in zip(self.names, self.ends, strict=True):
            subprocess.run(
                [
                    *("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", end, "root"),
                    *("tbf", "rate", rate, "burst", "64kb", "latency", "50ms"),
                ],
                check=True,
                capture_output=True,
            )

    def cut(self) -> None:
        ip("-n", self.names[0], "link", "set", self.ends[0], "down")

    def mend(self) -> None:
        ip("-n", self.names[0], "link", "set", self.ends[0], "up")

    def start(self, program: Path, **variables: str) -> list[subprocess.Popen[str]]:
        """The program on both hosts, two chips each, under torchrun."""
        started = []
        for node, name in enumerate(self.names):
            command = [
                *("ip", "netns", "exec", name, PYTHON, "-m", "cordee", "run", "--virtual"),
                *("--chips", "2", "--", "torchrun", "--nnodes", "2", "--node-rank", str(node)),
                *("--nproc-per-node", "2", "--master-addr", ADDRESSES[0]),
                *("--master-port", "29577", str(program)),
            ]
            started.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1", **variables},
                )
            )
        return started


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    try:
        made.open()
    except (OSError, subprocess.CalledProcessError) as error:
        made.close()
        why = getattr(error, "stderr", "") or str(error)
        pytest.skip(f"network namespaces cannot be made here: {why.strip()}")
    yield made
    made.close()


pytestmark = pytest.mark.slow

TRAINING = """
import hashlib, os, sys, time, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
rank = int(os.environ["RANK"])
torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl")
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(512, 512).npu())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
took_s = 0.0
for step in range(int(os.environ.get("STEPS", "5"))):
    torch.manual_seed(100 * step + rank)
    began = time.monotonic()
    model(torch.randn(8, 512).npu()).pow(2).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    torch.npu.synchronize()
    took_s += time.monotonic() - began
    if rank == 0:
        print("step", step, flush=True)
digest = hashlib.sha256(model.module.weight.detach().cpu().numpy().tobytes()).hexdigest()
sys.stdout.write(f"rank {rank} has {digest[:16]} after {took_s:.3f} s\\n")
dist.destroy_process_group()
"""


@pytest.fixture
def training(tmp_path: Path) -> Path:
    file = tmp_path / "training.py"
    file.write_text(TRAINING)
    return file


def results(children: list[subprocess.Popen[str]]) -> tuple[set[str], float]:
    """Digests of the weights of all ranks, and the seconds of the slowest."""
    said = "".join(child.communicate(timeout=300)[0] for child in children)
    found = re.findall(r"rank \d has (\w+) after ([\d.]+) s", said)
    assert len(found) == 4, said[-4000:]
    return {digest for digest, _ in found}, max(float(seconds) for _, seconds in found)


def test_a_slow_cable_is_slow_and_not_wrong(hosts: Hosts, training: Path) -> None:
    quick, quick_s = results(hosts.start(training))
    hosts.limit("20mbit")
    slow, slow_s = results(hosts.start(training))
    assert len(quick) == 1
    assert slow == quick
    assert slow_s > 2 * quick_s


def test_hosts_learn_what_one_host_learns(hosts: Hosts, training: Path) -> None:
    apart, _ = results(hosts.start(training))
    command = [PYTHON, "-m", "cordee", "run", "--virtual", "--chips", "4", "--", "torchrun"]
    together = subprocess.run(
        [*command, "--standalone", "--nproc-per-node", "4", str(training)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert set(re.findall(r"rank \d has (\w+)", together.stdout)) == apart


# A rank that was told stays until the others have been: torchrun would end them.
CUT = """
import os, sys, time, torch, torch.distributed as dist
rank = int(os.environ["RANK"])
torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl")
x = torch.ones(100000, device="npu")
try:
    for step in range(1000000):
        dist.all_reduce(x)
        torch.npu.synchronize()
        if rank == 0 and step == 20:
            print("under way", flush=True)
except RuntimeError as error:
    text = str(error)
    sys.stdout.write(f"rank {rank} was told 507048 {'507048' in text} EI0002 {'EI0002' in text}\\n")
    sys.stdout.flush()
    time.sleep(6)
    os._exit(0)
"""


def test_a_cut_cable_ends_in_the_vendors_timeout_on_every_rank(
    hosts: Hosts, tmp_path: Path
) -> None:
    program = tmp_path / "cut.py"
    program.write_text(CUT)
    children = hosts.start(
        program,
        STEPS="100000",
        HCCL_EXEC_TIMEOUT="8",
        TORCH_HCCL_ASYNC_ERROR_HANDLING="0",
    )
    lines_until(children[0], "under way", 1)
    hosts.cut()
    told = [line for child in children for line in lines_until(child, "was told", 2)]
    assert sorted(told) == [f"rank {rank} was told 507048 True EI0002 True\n" for rank in range(4)]
    hosts.mend()  # torchrun waits for its other half
    for child in children:
        child.communicate(timeout=200)


def lines_until(child: subprocess.Popen[str], words: str, count: int) -> list[str]:
    """The first lines with the words that the child prints."""
    found: list[str] = []
    assert child.stdout is not None
    for line in child.stdout:
        found += [line] if words in line else []
        if len(found) == count:
            break
    return found
