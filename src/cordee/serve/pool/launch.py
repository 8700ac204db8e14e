"""How a replica of each kind is started: command, environment, and how it says that it is ready."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cordee
from cordee.core.ports import free_port
from cordee.serve.cluster.found import Cluster
from cordee.serve.cluster.kubernetes import Kubernetes
from cordee.serve.cluster.ray import Engine, Ray
from cordee.serve.gateway.reading import Reading, reading_of
from cordee.serve.pool.config import PoolConfig
from cordee.serve.pool.forked import Kind
from cordee.serve.pool.zygote import Birth
from cordee.serve.replica.command import PROGRAM, replica_arguments
from cordee.serve.vllm import command as vllm

READY_S = 120.0
PACKAGE = Path(cordee.__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A process that is to be a replica."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    ready_s: float
    """It must be ready within so long."""
    port: int | None = None
    """Where it will answer /health; None: it says on its standard output where."""
    tells_why: bool = True
    """Whether the last line of its log is an error that says why it did not start."""
    forked_as: tuple[Kind, Birth] | None = None
    """What a zygote is told that has it forked; else it is a program of its own."""


def launch(config: PoolConfig, chips: tuple[int, ...], threads: int, log: Path) -> Launch:
    """How a replica is started now. Raises `UsageError` where its program is not installed."""
    made = _vllm if config.kind == "vllm" else _own
    return made(config, chips, threads, log)


def _own(config: PoolConfig, chips: tuple[int, ...], threads: int, log: Path) -> Launch:
    kind, own = Kind(config.device, threads), _visible(config.device, chips)
    more = ("--threads", str(threads), *config.arguments)
    arguments = replica_arguments(config.model, config.device, len(chips), more, name=config.called)
    return Launch(
        command=(sys.executable, *PROGRAM, *arguments),
        environment=kind.environment | own,
        log=log,
        ready_s=config.ready_s or READY_S,
        forked_as=(kind, Birth("cordee.serve.replica.__main__", arguments, own)),
    )


def chip_check(replica: Launch, chip: int) -> Launch:
    """A process that ends with 0 where a chip of our own engine still computes."""
    assert replica.forked_as is not None
    kind, _ = replica.forked_as
    module, arguments = "cordee.serve.replica.soundness", (kind.device,)
    own = _visible(kind.device, (chip,))
    return replace(
        replica,
        command=(sys.executable, "-m", module, *arguments),
        environment=kind.environment | own,
        forked_as=(kind, Birth(module, arguments, own)),
    )


def _visible(device: str, chips: tuple[int, ...]) -> dict[str, str]:
    return {vllm.DEVICES[device].visible: ",".join(map(str, chips))} if chips else {}


def _vllm(config: PoolConfig, chips: tuple[int, ...], threads: int, log: Path) -> Launch:
    where = f"pool {config.name}"
    start = vllm.Start(
        program=vllm.program(where, config.device, config.python, config.command),
        model=config.model,
        name=config.called,
        port=free_port(),
        device=config.device,
        chips=chips,
        threads=threads,
        arguments=config.arguments,
        plugin=_plugin_path(log.parent) if config.positional else "",
    )
    return Launch(
        command=(sys.executable, "-m", "cordee.serve.pool.watched", *start.command()),
        environment=start.environment(os.environ),
        log=log,
        ready_s=config.ready_s or vllm.READY_S,
        port=start.port,
        tells_why=False,
    )


def _plugin_path(folder: Path) -> str:
    """A folder with nothing but this package in it: what else is installed beside it is not for vLLM."""
    seen = folder / "plugin"
    seen.mkdir(exist_ok=True)
    link = seen / "cordee"
    if not link.exists() or link.resolve() != PACKAGE:
        link.unlink(missing_ok=True)
        link.symlink_to(PACKAGE)
    return str(seen)


def cluster_of(config: PoolConfig) -> Cluster:
    """Where the engines of a pool are looked up that run in a cluster."""
    if config.ray is None:
        assert config.kubernetes is not None
        return Kubernetes(config.kubernetes)
    threads = ("--threads", str(config.threads)) if config.threads else ()
    engine = Engine(
        name=config.name,
        model=config.model,
        called=config.called,
        device=config.device,
        chips=config.chips_per_replica,
        arguments=(*threads, *config.arguments),
        count=config.replicas,
    )
    return Ray(config.ray, engine)


def reading(config: PoolConfig) -> Reading | None:
    """How the tokens of a vLLM are read, where its model's folder is here."""
    folder = Path(config.tokenizer or config.model)
    return reading_of(folder) if config.kind == "vllm" and folder.is_dir() else None
