"""Kubernetes manifests for a pool: its engines, the gateway before them, and what that may look up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cordee.core.errors import UsageError
from cordee.core.manifests import Manifest, check_name, made
from cordee.hw.resources import resource
from cordee.serve.replica.command import PROGRAM, replica_arguments

POOL_LABEL = "cordee.dev/pool"
ENGINE_PORT, GATEWAY_PORT = 8000, 8000
DRAIN_S = 600
"""How long an engine may finish what it has begun before it is ended."""
DEVICES = ("cpu", "cuda", "ascend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the manifests are to run."""

    name: str
    """Of the pool; the engines carry it as a label."""
    image: str
    model: str
    """Path of the model's folder in the engines' containers."""
    claim: str
    """A PersistentVolumeClaim that holds it."""
    device: str = "cpu"
    replicas: int = 2
    max_replicas: int = 0
    """As many as there may be where the load asks for more; 0: always as many."""
    chips: int = 1
    """For each replica, where its device has chips."""
    namespace: str = "default"
    arguments: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UsageError(f"device {self.device}: is none of {', '.join(DEVICES)}")
        if self.max_replicas and self.max_replicas < self.replicas:
            raise UsageError(f"at most {self.max_replicas} replicas are fewer than {self.replicas}")
        for what, name in (("name", self.name), ("namespace", self.namespace)):
            check_name(what, name)


def manifests_of(wanted: Wanted) -> list[Manifest]:
    """Everything that `kubectl apply` needs, in an order in which it can be made."""
    return [
        made("v1", "ServiceAccount", "cordee-gateway", wanted.namespace),
        _role(wanted),
        _binding(wanted),
        _fleet(wanted),
        _engines(wanted),
        _budget(wanted),
        _gateway(wanted),
        _service(wanted),
    ]


def _role(wanted: Wanted) -> Manifest:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    if wanted.max_replicas:
        scale = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]}
        rules.append({**scale, "resourceNames": [f"cordee-{wanted.name}"]})
    version = "rbac.authorization.k8s.io/v1"
    return made(version, "Role", "cordee-gateway", wanted.namespace, rules=rules)


def _binding(wanted: Wanted) -> Manifest:
    group = "rbac.authorization.k8s.io"
    return made(
        f"{group}/v1",
        "RoleBinding",
        "cordee-gateway",
        wanted.namespace,
        roleRef={"apiGroup": group, "kind": "Role", "name": "cordee-gateway"},
        subjects=[
            {"kind": "ServiceAccount", "name": "cordee-gateway", "namespace": wanted.namespace}
        ],
    )


def _fleet(wanted: Wanted) -> Manifest:
    served = wanted.model.rstrip("/").rpartition("/")[2]
    text = (
        f'[gateway]\nhost = "0.0.0.0"\nport = {GATEWAY_PORT}\n\n'
        f'[[pool]]\nname = "{wanted.name}"\nmodel = "{served}"\n\n'
        f'[pool.kubernetes]\nnamespace = "{wanted.namespace}"\n'
        f'labels = "{POOL_LABEL}={wanted.name}"\nport = {ENGINE_PORT}\n'
    )
    if wanted.max_replicas:
        text += f'deployment = "cordee-{wanted.name}"\n\n'
        text += f"[pool.scaling]\nmin = {wanted.replicas}\nmax = {wanted.max_replicas}\n"
    return made("v1", "ConfigMap", "cordee-fleet", wanted.namespace, data={"fleet.toml": text})


def _engines(wanted: Wanted) -> Manifest:
    # 0.0.0.0: the gateway comes from another pod.
    where = ("--host", "0.0.0.0", "--port", str(ENGINE_PORT))
    told = replica_arguments(wanted.model, wanted.device, wanted.chips, wanted.arguments)
    command = ["python", *PROGRAM, *where, *told]
    container: dict[str, object] = {
        "name": "engine",
        "image": wanted.image,
        "command": command,
        "ports": [{"name": "http", "containerPort": ENGINE_PORT}],
        "readinessProbe": _probe(ENGINE_PORT, period_s=2, failures=3),
        # A large model takes minutes to load; until then only this probe counts.
        "startupProbe": _probe(ENGINE_PORT, period_s=5, failures=360),
        "volumeMounts": [{"name": "model", "mountPath": wanted.model, "readOnly": True}],
    }
    chip = resource("kubernetes", wanted.device)
    if chip is not None:
        container["resources"] = {"limits": {chip: wanted.chips}}
    volume = {
        "name": "model",
        "persistentVolumeClaim": {"claimName": wanted.claim, "readOnly": True},
    }
    pod = {
        "terminationGracePeriodSeconds": DRAIN_S,
        "containers": [container],
        "volumes": [volume],
    }
    # One more is started before one ends, unless the chips are all taken: then one ends first.
    rolling = {"maxSurge": 1 if chip is None else 0, "maxUnavailable": 1}
    labels = {POOL_LABEL: wanted.name}
    return _deployment(
        f"cordee-{wanted.name}", wanted, wanted.replicas, labels, pod, rollingUpdate=rolling
    )


def _gateway(wanted: Wanted) -> Manifest:
    command = ["python", "-m", "cordee", "serve", "--fleet", "/etc/cordee/fleet.toml"]
    container = {
        "name": "gateway",
        "image": wanted.image,
        "command": command,
        "ports": [{"name": "http", "containerPort": GATEWAY_PORT}],
        "readinessProbe": _probe(GATEWAY_PORT, period_s=2, failures=3),
        "volumeMounts": [{"name": "fleet", "mountPath": "/etc/cordee", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "cordee-gateway",
        "terminationGracePeriodSeconds": DRAIN_S,
        "containers": [container],
        "volumes": [{"name": "fleet", "configMap": {"name": "cordee-fleet"}}],
    }
    labels = {"app.kubernetes.io/name": "cordee-gateway"}
    return _deployment("cordee-gateway", wanted, 1, labels, pod)


def _deployment(
    name: str,
    wanted: Wanted,
    replicas: int,
    labels: Mapping[str, str],
    pod: Manifest,
    **strategy: object,
) -> Manifest:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": dict(labels)},
        "strategy": {"type": "RollingUpdate", **strategy},
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }
    return made("apps/v1", "Deployment", name, wanted.namespace, spec=spec)


def _budget(wanted: Wanted) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {POOL_LABEL: wanted.name}}}
    name = f"cordee-{wanted.name}"
    return made("policy/v1", "PodDisruptionBudget", name, wanted.namespace, spec=spec)


def _service(wanted: Wanted) -> Manifest:
    spec = {
        "selector": {"app.kubernetes.io/name": "cordee-gateway"},
        "ports": [{"name": "http", "port": 80, "targetPort": GATEWAY_PORT}],
    }
    return made("v1", "Service", "cordee", wanted.namespace, spec=spec)


def _probe(port: int, *, period_s: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": "/health", "port": port},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
