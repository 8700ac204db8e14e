"""Fleet files: the gateway, and the pools behind it."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from cordee.core.errors import UsageError
from cordee.serve.cluster.kubernetes import KubernetesConfig
from cordee.serve.cluster.ray import RayConfig
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.fleet import Kind, Role
from cordee.serve.policy.scaling import Limits

Device = Literal["cpu", "cuda", "ascend"]
T = TypeVar("T")
VLLM_ONLY = ("python", "command", "plugin", "tokenizer")
LISTS = ("urls", "arguments", "command")
NUMBERS = ("replicas", "chips_per_replica", "spare_chips", "threads")
PATHS = ("keys", "certificate", "private_key", "journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingConfig(Limits):
    """A table [pool.scaling]: how many replicas there are to be, and who is told."""

    command: tuple[str, ...] = ()
    """Is run with the number as its last argument."""
    url: str = ""
    """Or gets it as JSON, by POST."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """A table [[pool]]: replicas of one kind."""

    name: str
    kind: Kind = "cordee"
    model: str = ""
    """A model folder; for engines that run elsewhere, the name they know it by."""
    served_name: str = ""
    """What clients call the model; else the folder's name."""
    replicas: int = 1
    urls: tuple[str, ...] = ()
    """Where the engines listen that somebody else runs."""
    kubernetes: KubernetesConfig | None = None
    """Or how they are found in a cluster."""
    ray: RayConfig | None = None
    """Or in which cluster of Ray they are, started there where there are fewer than `replicas`."""
    scaling: ScalingConfig | None = None
    device: Device = "cpu"
    chip: str = ""
    """Virtual chips of this kind, such as Ascend910B3; then the device is ascend."""
    chips_per_replica: int = 1
    spare_chips: int = 0
    threads: int = 0
    """Of the CPU for each replica; 0: an even share."""
    role: Role = "primary"
    share: float = 1.0
    arguments: tuple[str, ...] = ()
    """More arguments of the engine's own command line."""
    python: str = ""
    """Of vLLM: the Python of the environment that it is in; else that of the command `vllm`."""
    command: tuple[str, ...] = ()
    """Of vLLM: or the whole beginning of its command line."""
    plugin: bool | None = None
    """Of vLLM: whether it has our plug-in; one that is started here has it unless this says no."""
    tokenizer: str = ""
    """Of vLLM elsewhere: a folder with the model's tokenizer, by which answers go on from their tokens."""
    ready_s: float = 0.0
    """How long it may take to start; 0: as long as its kind needs."""
    warm_s: float = 10.0
    """How long it may take prefixes from a peer before it gets requests; 0: it begins cold."""

    @property
    def called(self) -> str:
        """The model's name in requests."""
        if self.served_name:
            return self.served_name
        if self.ray is not None:  # a folder on its nodes
            return Path(self.model).name
        kept = self.elsewhere or (self.kind == "vllm" and not Path(self.model).exists())
        return self.model if kept else Path(self.model).resolve().name

    @property
    def positional(self) -> bool:
        """Whether its engines are vLLMs with our plug-in."""
        if self.plugin is not None:
            return self.plugin
        # vLLM takes no logits processors beside its guessing ahead.
        guesses = any(argument.startswith("--speculative-config") for argument in self.arguments)
        return self.kind == "vllm" and not self.elsewhere and not guesses

    @property
    def chips(self) -> int:
        """How many it takes of this machine, with those that wait."""
        if self.elsewhere or self.device == "cpu":
            return 0
        most = self.replicas if self.scaling is None else self.scaling.max
        return most * self.chips_per_replica + self.spare_chips

    @property
    def elsewhere(self) -> bool:
        """Whether somebody else runs the engines."""
        return bool(self.urls) or self.followed

    @property
    def followed(self) -> bool:
        """Whether the engines are looked up, again and again."""
        return self.kubernetes is not None or self.ray is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    """A whole fleet file."""

    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    pools: tuple[PoolConfig, ...]


def read_fleet(file: Path) -> FleetConfig:
    """Read a fleet file. Raises `UsageError` that names the key and what it may be."""
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: is no TOML: {error}") from error
    _known(given, {"gateway", "pool"}, str(file))
    pools = given.get("pool")
    if not isinstance(pools, list) or not pools:
        raise UsageError(f"{file}: has no [[pool]]")
    gateway = _gateway(given.get("gateway", {}), file)
    made = tuple(_pool(entry, number, file) for number, entry in enumerate(pools, 1))
    _check_chips(made, file)
    names = [pool.name for pool in made]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"{file}: two pools are named {double}")
    return FleetConfig(gateway=gateway, pools=made)


def _gateway(given: object, file: Path) -> GatewayConfig:
    where = f"{file}: [gateway]"
    if not isinstance(given, dict):
        raise UsageError(f"{where}: is no table")
    _known(given, {f.name for f in fields(GatewayConfig)}, where)
    values: dict[str, object] = {}
    for name, value in given.items():
        default = GatewayConfig.__dataclass_fields__[name].default
        if name in PATHS:
            values[name] = file.parent / _of(value, str, f"{where} {name}")
        elif isinstance(default, bool):
            values[name] = _of(value, bool, f"{where} {name}")
        elif isinstance(default, float):
            values[name] = float(_of(value, (int, float), f"{where} {name}"))
        else:
            values[name] = _of(value, str if default is None else type(default), f"{where} {name}")
    return GatewayConfig(**values)  # type: ignore[arg-type]


def _pool(given: object, number: int, file: Path) -> PoolConfig:
    where = f"{file}: pool {number}"
    if not isinstance(given, dict):
        raise UsageError(f"{where}: is no table")
    known = {f.name for f in fields(PoolConfig)}
    _known(given, known, where)
    values = {name: _value(name, value, f"{where}: {name}", file) for name, value in given.items()}
    values.setdefault("device", "ascend" if values.get("chip") else "cpu")
    if not values.get("name"):
        raise UsageError(f"{where}: has no name")
    pool = PoolConfig(**values)  # type: ignore[arg-type]
    _check(pool, where, file)
    tokenizer = str(file.parent / pool.tokenizer) if pool.tokenizer else ""
    if pool.elsewhere:
        return replace(pool, tokenizer=tokenizer)
    folder = file.parent / pool.model
    if pool.kind == "vllm" and not folder.exists():
        return replace(pool, tokenizer=tokenizer)  # a name that vLLM knows where to load from
    return replace(pool, model=str(folder), tokenizer=tokenizer)


def _value(name: str, value: object, at: str, file: Path) -> object:
    if name in LISTS:
        return _texts(value, at)
    if name == "kubernetes":
        return _kubernetes(value, at, file)
    if name == "ray":
        return _ray(value, at, file)
    if name == "scaling":
        return _scaling(value, at)
    if name in ("share", "ready_s", "warm_s"):
        return float(_of(value, (int, float), at))
    return _of(value, bool if name == "plugin" else int if name in NUMBERS else str, at)


def _kubernetes(given: object, where: str, file: Path) -> KubernetesConfig:
    if not isinstance(given, dict):
        raise UsageError(f"{where}: is no table")
    _known(given, {f.name for f in fields(KubernetesConfig)}, where)
    values: dict[str, object] = {}
    for name, value in given.items():
        at = f"{where}: {name}"
        if name in ("token_file", "authority"):
            values[name] = file.parent / _of(value, str, at)
        else:
            values[name] = _of(value, int if name == "port" else str, at)
    if not values.get("labels"):
        raise UsageError(f"{where}: has no labels, by which engines are found")
    return KubernetesConfig(**values)  # type: ignore[arg-type]


def _check_chips(pools: Sequence[PoolConfig], file: Path) -> None:
    """One service has chips of one kind, virtual or real."""
    here = [pool for pool in pools if not pool.elsewhere and pool.device == "ascend"]
    kinds = dict.fromkeys(pool.chip for pool in here)
    if len(kinds) > 1:
        told = ", ".join(kind or "real ones" for kind in kinds)
        raise UsageError(
            f"{file}: pools on different chips, {told}: a service has one kind of them"
        )
    for pool in pools:
        if pool.chip and (pool.device != "ascend" or pool.elsewhere):
            raise UsageError(f"{file}: pool {pool.name}: chip is of pools on ascend that run here")


def _ray(given: object, where: str, file: Path) -> RayConfig:
    if not isinstance(given, dict):
        raise UsageError(f"{where}: is no table")
    _known(given, {f.name for f in fields(RayConfig)}, where)
    values: dict[str, object] = {}
    for name, value in given.items():
        at = f"{where}: {name}"
        if name in ("resources", "environment"):
            kind = (int, float) if name == "resources" else str
            values[name] = {k: _of(v, kind, f"{at}.{k}") for k, v in _of(value, dict, at).items()}
        else:
            values[name] = _of(value, int if name == "port" else str, at)
    if "token_file" in values:
        values["token_file"] = file.parent / str(values["token_file"])
    return RayConfig(**values)  # type: ignore[arg-type]


def _scaling(given: object, where: str) -> ScalingConfig:
    if not isinstance(given, dict):
        raise UsageError(f"{where}: is no table")
    usual = {f.name: f.default for f in fields(ScalingConfig)}
    _known(given, set(usual), where)
    values: dict[str, object] = {}
    for name, value in given.items():
        at = f"{where}: {name}"
        if isinstance(usual[name], tuple):
            values[name] = _texts(value, at)
        elif isinstance(usual[name], float):
            values[name] = float(_of(value, (int, float), at))
        else:
            values[name] = _of(value, type(usual[name]), at)
    made = ScalingConfig(**values)  # type: ignore[arg-type]
    if not 1 <= made.min <= made.max:
        raise UsageError(f"{where}: min is {made.min} and max {made.max}, not 1 <= min <= max")
    if made.requests <= 0 or not 0 < made.cache <= 1:
        raise UsageError(f"{where}: requests must be above 0, and cache above 0 and at most 1")
    if made.command and made.url:
        raise UsageError(f"{where}: has command and url: one of them")
    return made


def _check(pool: PoolConfig, where: str, file: Path) -> None:
    for name, value, choices in (
        ("kind", pool.kind, get_args(Kind)),
        ("role", pool.role, get_args(Role)),
        ("device", pool.device, get_args(Device)),
    ):
        if value not in choices:
            raise UsageError(f"{where}: {name} is {value!r}, none of {', '.join(choices)}")
    if not pool.model:
        raise UsageError(f"{where}: has no model")
    if not 0 <= pool.share <= 1:
        raise UsageError(f"{where}: share is {pool.share:g}, not from 0 to 1")
    if pool.replicas < 0 or pool.chips_per_replica < 1 or pool.spare_chips < 0:
        raise UsageError(f"{where}: replicas and chips cannot be fewer than none")
    if pool.kind == "openai" and not pool.elsewhere:
        raise UsageError(
            f'{where}: kind = "{pool.kind}" is started by somebody else: it needs urls, or '
            "[pool.kubernetes]"
        )
    given = [name for name in ("python", "command", "ready_s") if getattr(pool, name)]
    if given and pool.elsewhere:
        raise UsageError(f"{where}: {given[0]} is of engines that are started here, and has urls")
    own = [name for name in VLLM_ONLY if getattr(pool, name)]
    if own and pool.kind != "vllm":
        raise UsageError(f'{where}: {own[0]} is of kind = "vllm"')
    _check_where_and_how_many(pool, where)


def _check_where_and_how_many(pool: PoolConfig, where: str) -> None:
    places = {"urls": pool.urls, "[pool.kubernetes]": pool.kubernetes, "[pool.ray]": pool.ray}
    given = [name for name, value in places.items() if value]
    if len(given) > 1:
        raise UsageError(f"{where}: has {' and '.join(given)}: one of them")
    if pool.ray is not None and pool.kind != "cordee":
        raise UsageError(f'{where}: [pool.ray] starts engines of kind = "cordee"')
    limits = pool.scaling
    if limits is None or pool.elsewhere or limits.min <= pool.replicas <= limits.max:
        return
    raise UsageError(
        f"{where}: replicas is {pool.replicas}, and [pool.scaling] says from {limits.min} to "
        f"{limits.max}"
    )


def _known(given: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = given.keys() - known
    if unknown:
        name = sorted(unknown)[0]
        raise UsageError(f"{where}: {name} is no key here; known: {', '.join(sorted(known))}")


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise UsageError(f"{where} is {value!r}, not a list of texts")
    return tuple(value)


def _of(value: object, kind: type[T] | tuple[type[T], ...], where: str) -> T:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise UsageError(f"{where} is {value!r}, not {' or '.join(k.__name__ for k in kinds)}")
    return value
