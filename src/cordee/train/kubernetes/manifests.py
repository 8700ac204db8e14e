"""Kubernetes manifests for a job: an agent in a pod on each host, how they find each other, and their secret.

An Indexed Job gives each pod a number and a name, and another pod with both where one is lost:
kubernetes.io/docs/concepts/workloads/controllers/job, "Completion mode"; names: kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cordee.core.errors import UsageError
from cordee.core.manifests import NAME_MOST, Manifest, check_name, made
from cordee.hw.resources import resource
from cordee.train.hosts import PORT, SECRET

DEVICES = ("cpu", "ascend")
AGENT = "agent"
KEY = "secret"
MEMORY = "/dev/shm"
"""Where a host keeps the state of the last step."""
INDEX = "batch.kubernetes.io/job-completion-index"
NO_USE = (1, 2)
"""Exit codes after which another pod would do no better: the job failed, or was asked for wrongly."""
FALLS_MOST = 1000
"""So many pods may be lost and replaced."""
GRACE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the manifests are to run."""

    name: str
    image: str
    words: Sequence[str]
    """Options of `cordee train`, and the script with its own; `--` between them where there are both."""
    secret: str
    """That hosts have in common."""
    hosts: int = 2
    least_hosts: int = 0
    """So many are enough to begin; 0: all."""
    per_host: int = 8
    """Workers on each host, and chips where its device has some."""
    spares: int = 0
    device: str = "ascend"
    claim: str = ""
    """A PersistentVolumeClaim that all hosts see."""
    at: str = "/job"
    """Where they see it."""
    memory: str = ""
    """The most of a host's memory that the state may take there, as 64Gi; none: no limit but the pod's own."""
    namespace: str = "default"

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UsageError(f"device {self.device}: is none of {', '.join(DEVICES)}")
        for what, name in (("name", self.name), ("namespace", self.namespace)):
            check_name(what, name)
        if len(f"{self.name}-{self.hosts}") > NAME_MOST:
            raise UsageError(f"name {self.name!r}: is too long for names of pods made of it")
        if not 0 <= self.least_hosts <= self.hosts:
            raise UsageError(f"at least {self.least_hosts} hosts are more than {self.hosts}")
        if self.workers < 1:
            raise UsageError(
                f"{self.spares} spares: on {self.hosts} hosts run {self.hosts * self.per_host} workers in all"
            )

    @property
    def workers(self) -> int:
        """Of all hosts, when all is well."""
        return self.hosts * self.per_host - self.spares


def manifests_of(wanted: Wanted) -> list[Manifest]:
    """Everything that `kubectl apply` needs, in an order in which it can be made."""
    return [_secret(wanted), _service(wanted), _job(wanted)]


def _secret(wanted: Wanted) -> Manifest:
    data = {KEY: wanted.secret}
    return made("v1", "Secret", wanted.name, wanted.namespace, type="Opaque", stringData=data)


def _service(wanted: Wanted) -> Manifest:
    """What gives pods names. It needs a port: github.com/kubernetes/dns issue 174."""
    spec = {
        "clusterIP": "None",
        "selector": {"job-name": wanted.name},
        "publishNotReadyAddresses": True,
        "ports": [{"name": "rendezvous", "port": PORT}],
    }
    return made("v1", "Service", wanted.name, wanted.namespace, spec=spec)


def _job(wanted: Wanted) -> Manifest:
    """A pod that the cluster takes away is replaced, as is one that is killed; a job that fails is not begun again."""
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    failed = {"containerName": AGENT, "operator": "In", "values": list(NO_USE)}
    spec = {
        "completions": wanted.hosts,
        "parallelism": wanted.hosts,
        "completionMode": "Indexed",
        "backoffLimit": FALLS_MOST,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [disrupted]},
                {"action": "FailJob", "onExitCodes": failed},
            ]
        },
        "template": {"spec": _pod(wanted)},
    }
    return made("batch/v1", "Job", wanted.name, wanted.namespace, spec=spec)


def _pod(wanted: Wanted) -> Manifest:
    limit = {"sizeLimit": wanted.memory} if wanted.memory else {}
    volumes: list[Manifest] = [{"name": "memory", "emptyDir": {"medium": "Memory", **limit}}]
    mounts = [{"name": "memory", "mountPath": MEMORY}]
    if wanted.claim:
        volumes.append({"name": "job", "persistentVolumeClaim": {"claimName": wanted.claim}})
        mounts.append({"name": "job", "mountPath": wanted.at})
    container: dict[str, object] = {
        "name": AGENT,
        "image": wanted.image,
        "command": _command(wanted),
        "env": _variables(wanted),
        "ports": [{"name": "rendezvous", "containerPort": PORT}],
        "volumeMounts": mounts,
    }
    chip = resource("kubernetes", wanted.device)
    if chip is not None:
        container["resources"] = {"limits": {chip: str(wanted.per_host)}}
    return {
        "subdomain": wanted.name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
        "affinity": {"podAntiAffinity": _apart(wanted)},
        "containers": [container],
        "volumes": volumes,
    }


def _apart(wanted: Wanted) -> Manifest:
    """Pods on different nodes, where there are enough: so that one that fails takes one pod with it."""
    term = {
        "labelSelector": {"matchLabels": {"job-name": wanted.name}},
        "topologyKey": "kubernetes.io/hostname",
    }
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"preferredDuringSchedulingIgnoredDuringExecution": preferred}


def _command(wanted: Wanted) -> list[str]:
    words = list(wanted.words) if "--" in wanted.words else ["--", *wanted.words]
    counts = ["--workers", str(wanted.workers), "--per-host", str(wanted.per_host)]
    if wanted.spares:
        counts += ["--spares", str(wanted.spares)]
    if wanted.device != "cpu":
        counts += ["--chips", str(wanted.per_host)]
    if wanted.claim:
        counts += ["--folder", f"{wanted.at}/{wanted.name}"]
    # Not the pod's name, which other pods may not know yet when it is told.
    place = ["--address", f"$(POD_IP):{PORT}"]
    return ["python", "-m", "cordee", "train", *place, *counts, *words]


def _variables(wanted: Wanted) -> list[Manifest]:
    """As torchrun reads them: github.com/pytorch/pytorch torch/distributed/argparse_util.py."""
    endpoints = [f"{wanted.name}-{host}.{wanted.name}:{PORT}" for host in range(wanted.hosts)]
    nnodes = f"{wanted.least_hosts or wanted.hosts}:{wanted.hosts}"
    secret = {"secretKeyRef": {"name": wanted.name, "key": KEY}}
    return [
        {"name": "PET_NNODES", "value": nnodes},
        {"name": "PET_NODE_RANK", "valueFrom": _field(f"metadata.annotations['{INDEX}']")},
        {"name": "PET_RDZV_ENDPOINT", "value": ",".join(endpoints)},
        {"name": "PET_RDZV_ID", "value": wanted.name},
        {"name": SECRET, "valueFrom": secret},
        {"name": "POD_IP", "valueFrom": _field("status.podIP")},
    ]


def _field(path: str) -> Manifest:
    return {"fieldRef": {"fieldPath": path}}
