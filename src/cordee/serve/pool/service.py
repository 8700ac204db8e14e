"""A service from the command line: replicas started, the gateway before them."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.http.server import Listener, bound
from cordee.core.pages.files import Files
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.fleet import Replica
from cordee.serve.gateway.service import Gateway, serve
from cordee.serve.move.center import Center
from cordee.serve.pool.config import Device, FleetConfig, PoolConfig, read_fleet
from cordee.serve.pool.local import LocalFleet
from cordee.serve.pool.scaling import Autoscaler

INSIDE = "CORDEE_SERVE_ON_VIRTUAL_CHIPS"
MACHINE = "CORDEE_MACHINE"
"""Set where `cordee run` gives a program virtual chips."""
NVIDIA = ("/dev/nvidiactl", "/dev/dxg")  # dxg: under Windows
OF_GATEWAY = ("host", "port", "keys", "log")
OF_POOLS = (
    "replicas", "device", "chips_per_replica", "spare_chips", "weights", "max_model_len", "name", "threads", "canary",
)  # fmt: skip
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the command line says."""

    model: Path | None
    fleet: Path | None
    replicas: int | None = None
    device: Device | None = None
    chip: str | None = None
    chips: int | None = None
    chips_per_replica: int = 1
    spare_chips: int = 0
    weights: str | None = None
    max_model_len: int | None = None
    name: str = ""
    host: str | None = None
    port: int | None = None
    keys: Path | None = None
    log: str | None = None
    threads: int = 0
    canary: bool | None = None

    def under_virtual_chips(
        self, pools: Sequence[PoolConfig], arguments: Sequence[str]
    ) -> list[str] | None:
        """The command that runs the same on virtual chips; None where none are asked for."""
        kind = self.chip or next((pool.chip for pool in pools if pool.chip), "")
        if not kind and self.chips is None:
            return None
        if os.environ.get(INSIDE):
            return None
        os.environ[INSIDE] = "1"
        chip = ["--chip", kind] if kind else []
        count = self.chips or max(1, sum(pool.chips for pool in pools if pool.device == "ascend"))
        return [
            sys.executable, "-m", "cordee", "run", *chip, "--chips", str(count),
            "--", sys.executable, "-m", "cordee", *arguments[1:],
        ]  # fmt: skip

    def config(self) -> FleetConfig:
        """The fleet that is asked for. Raises `UsageError`."""
        told = {name: getattr(self, name) for name in OF_GATEWAY}
        given = {name: value for name, value in told.items() if value is not None}
        if self.fleet is not None:
            self._only_of_gateway()
            fleet = read_fleet(self.fleet)
            return replace(fleet, gateway=replace(fleet.gateway, **given))
        if self.model is None:
            raise UsageError("give either a model folder, or --fleet with a fleet file")
        virtual = self.chip is not None or self.chips is not None
        if virtual and self.device not in (None, "ascend"):
            raise UsageError(f"--device {self.device}: --chip and --chips are of ascend")
        device = self.device or ("ascend" if virtual else best_device())
        room = ((self.chips or 1) - self.spare_chips) // self.chips_per_replica
        pool = PoolConfig(
            name=device,
            model=str(self.model),
            served_name=self.name,
            replicas=self.replicas or max(1, room),
            device=device,
            chips_per_replica=self.chips_per_replica,
            spare_chips=self.spare_chips,
            threads=self.threads,
            arguments=self._arguments(),
        )
        return FleetConfig(gateway=GatewayConfig(**given), pools=(pool,))

    def _only_of_gateway(self) -> None:
        """What is a matter of pools stands in the fleet file."""
        plain = Ask(model=None, fleet=None)
        for name in OF_POOLS:
            if getattr(self, name) != getattr(plain, name):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{option} goes with a model folder; {self.fleet} says it of pools"
                )
        if self.model is not None:
            raise UsageError("give either a model folder, or --fleet with a fleet file")

    def _arguments(self) -> tuple[str, ...]:
        made: list[str] = []
        if self.weights:
            made += ["--weights", self.weights]
        if self.max_model_len:
            made += ["--max-model-len", str(self.max_model_len)]
        if self.canary is not None:
            made.append("--canary" if self.canary else "--no-canary")
        return tuple(made)


def best_device() -> Device:
    """Ascend where there is one, else CUDA, else the CPU: by the files of their drivers."""
    if any(Path("/dev").glob("davinci[0-9]*")):
        return "ascend"
    return "cuda" if any(Path(file).exists() for file in NVIDIA) else "cpu"


def require_devices(pools: Sequence[PoolConfig]) -> None:
    """Refuse pools whose device this machine does not have. Raises `UsageError`."""
    for pool in pools:
        if pool.elsewhere:
            continue
        if pool.device == "ascend" and not (os.environ.get(MACHINE) or best_device() == "ascend"):
            raise UsageError(
                f"pool {pool.name}: there is no Ascend chip here; virtual ones come with "
                '--chip Ascend910B3, or with chip = "Ascend910B3" in a fleet file'
            )
        if pool.device == "cuda" and not any(Path(file).exists() for file in NVIDIA):
            raise UsageError(f"pool {pool.name}: there is no NVIDIA GPU here; try --device cpu")


def kept_folder(name: str) -> Path:
    """Where something is kept for reading after the service has ended."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = home / "cordee" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def serve_fleet(config: FleetConfig, logs: Path, say: Say, pages: Files) -> None:
    """Serve until SIGTERM; replicas write into the folder `logs`. Raises `UsageError` where nothing can be served."""
    require_devices(config.pools)
    sockets = bound(config.gateway.host, config.gateway.port)  # before anything is loaded
    fleet = LocalFleet(config.pools, logs)
    gateway = Gateway(config.gateway, fleet, Center(fleet, kept_folder("moves")), pages)
    failed: list[str] = []
    scaling: list[asyncio.Task[None]] = []

    def told(kind: str, replica: Replica, text: str) -> None:
        say(f"{replica.name}: {text}")

    def starting(kind: str, replica: Replica, text: str) -> None:
        # Where none of them starts, the error says why, and once is enough.
        gateway.events.add(kind, replica.name, text)
        if kind == "replica-dead":
            failed.append(f"{replica.name}: {text}")
        else:
            told(kind, replica, text)

    def ready(gateway: Gateway, listener: Listener) -> None:
        def heard(kind: str, replica: Replica, text: str) -> None:
            told(kind, replica, text)
            gateway.events.add(kind, replica.name, text)
            if kind == "replica-ready":
                gateway.dispatcher.pump()

        fleet.tell = heard
        scaler = Autoscaler(fleet, gateway.dispatcher, config.pools)
        scaling.append(asyncio.get_running_loop().create_task(scaler.run()))
        scheme = "https" if config.gateway.certificate else "http"
        say(f"serving {', '.join(dict.fromkeys(pool.called for pool in config.pools))}")
        say(f"its page is at {scheme}://{config.gateway.host}:{listener.port}/")
        say(f"listening on {scheme}://{config.gateway.host}:{listener.port}/v1")

    fleet.tell = starting
    fleet.start()
    try:
        await fleet.first_ready()
        for line in failed:
            say(line)
        await serve(gateway, ready, sockets)
    finally:
        for task in scaling:
            task.cancel()
        await fleet.stop()
