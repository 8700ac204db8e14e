"""The GPT on torchft: `STEPS SHARDS WORKERS`; starts a lighthouse and one replica for each worker, and again those that die."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path


def replica(steps: int, shards: int, workers: int, number: int) -> None:
    """One of them: its part of the batch, and what torchft makes of the others'."""
    import torch.distributed as dist
    from links import strike
    from model import DEVICE, Log, batch, digest, make
    from torchft import DistributedDataParallel, Manager, Optimizer, ProcessGroupGloo

    if DEVICE == "npu":
        import torch
        from torchft_hccl import ProcessGroupHccl as Group

        torch.npu.set_device(number)
    else:
        Group = ProcessGroupGloo
    model, optimizer = make()
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    manager = Manager(
        pg=Group(timeout=timedelta(seconds=30)),
        load_state_dict=lambda s: (
            model.load_state_dict(s["m"]),
            optimizer.load_state_dict(s["o"]),
        ),
        state_dict=lambda: {"m": model.state_dict(), "o": optimizer.state_dict()},
        min_replica_size=1,
        replica_id=f"replica{number}",
        timeout=timedelta(seconds=30),
        quorum_timeout=timedelta(seconds=60),
        rank=0,
        world_size=1,
        store_addr="localhost",
        store_port=store.port,
        init_sync=False,
    )
    wrapped, stepped = DistributedDataParallel(manager, model), Optimizer(manager, optimizer)
    mine = range(number * shards // workers, (number + 1) * shards // workers)
    log = Log()
    while (step := manager.current_step()) < steps:
        strike(number, step)
        stepped.zero_grad()
        # Its DDP has no no_sync: the shards of a worker are added up before the backward pass.
        sum(wrapped(*batch(step, shard)) / len(mine) for shard in mine).backward()
        stepped.step()
        if manager.current_step() > step:
            log.add(worker=number, step=step)
    log.add(digest=digest(model))
    time.sleep(1)
    manager.shutdown(wait=False)
    os._exit(0)


def main(arguments: list[str]) -> None:
    """The job: replicas that die are started again, as its own launchers do."""
    workers = int(arguments[2])
    port = 20000 + os.getpid() % 10000
    lighthouse = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("torchft_lighthouse")),
            *("--bind", f"[::]:{port}", "--min_replicas", "1", "--join_timeout_ms", "10000"),
            *("--quorum_tick_ms", "100"),
        ]
    )
    environment = os.environ | {"TORCHFT_LIGHTHOUSE": f"http://localhost:{port}"}

    def start(number: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-u", __file__, *arguments, str(number)]
        return subprocess.Popen(command, env=environment)

    running = {number: start(number) for number in range(workers)}
    while running:
        for number, process in list(running.items()):
            if process.poll() == 0:
                del running[number]
            elif process.returncode is not None:
                running[number] = start(number)
        time.sleep(0.05)
    lighthouse.kill()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        replica(*map(int, sys.argv[1:5]))
    else:
        main(sys.argv[1:])
