"""Engines found by their labels, through the HTTP API of Kubernetes."""

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import msgspec

from cordee.core.errors import CordeeError, UsageError
from cordee.core.http.client import Client
from cordee.serve.cluster.found import Found

# Where a pod finds what it may do, and the API server's address:
# kubernetes.io/docs/tasks/run-application/access-api-from-pod
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Metadata(msgspec.Struct):
    """The part of a pod's metadata that is read."""

    name: str
    deletionTimestamp: str | None = None


class Condition(msgspec.Struct):
    """Something that holds of a pod, or not."""

    type: str
    status: str


class PodStatus(msgspec.Struct):
    """The part of a pod's state that is read."""

    podIP: str = ""
    conditions: list[Condition] = []


class Pod(msgspec.Struct):
    """A pod of the API's list."""

    metadata: Metadata
    status: PodStatus


class Pods(msgspec.Struct):
    """The API's answer."""

    items: list[Pod]


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesConfig:
    """A table [pool.kubernetes]."""

    namespace: str = "default"
    labels: str = ""
    """A label selector, such as "cordee.dev/pool=ascend"."""
    port: int = 8000
    """On which the engines listen."""
    api: str = ""
    """The API server; the cluster's own where the gateway runs in a pod."""
    token_file: Path = ACCOUNT / "token"
    deployment: str = ""
    """Whose number of replicas is to follow the load, where there is [pool.scaling]."""
    authority: Path = ACCOUNT / "ca.crt"
    """Whom to believe that a server is the API server."""

    def server(self, environment: Mapping[str, str] = os.environ) -> str:
        """Where the API server is. Raises `UsageError` where that is not said."""
        if self.api:
            return self.api.rstrip("/")
        host = environment.get("KUBERNETES_SERVICE_HOST")
        if not host:
            raise UsageError(
                "[pool.kubernetes]: this is no pod of a cluster, so give the server with api = "
                '"https://..." (`kubectl proxy` has one at http://127.0.0.1:8001)'
            )
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


@dataclass(slots=True)
class Kubernetes:
    """Asks one API server."""

    config: KubernetesConfig
    client: Client = field(default_factory=Client)
    trouble: str = ""

    def __post_init__(self) -> None:
        if self.client.tls is None and self.config.authority.exists():
            self.client.tls = ssl.create_default_context(cafile=str(self.config.authority))

    async def engines(self) -> Sequence[Found]:
        """The engines that carry the labels. Raises `CordeeError` where the server does not tell."""
        config = self.config
        url = (
            f"{config.server()}/api/v1/namespaces/{quote(config.namespace, safe='')}/pods"
            f"?labelSelector={quote(config.labels, safe='')}"
        )
        reply = await self.client.request(url, headers=self._headers(), timeout_s=10)
        if reply.status != 200:
            raise CordeeError(f"{url}: answered {reply.status}: {_why(reply.body)}")
        try:
            pods = msgspec.json.decode(reply.body, type=Pods)
        except msgspec.DecodeError as error:
            raise CordeeError(f"{url}: the answer is no list of pods: {error}") from error
        return [_found(pod, config.port) for pod in pods.items if pod.status.podIP]

    async def scale(self, number: int) -> None:
        """Let the deployment have so many engines. Raises `CordeeError` where that is refused."""
        config = self.config
        url = (
            f"{config.server()}/apis/apps/v1/namespaces/{quote(config.namespace, safe='')}"
            f"/deployments/{quote(config.deployment, safe='')}/scale"
        )
        body = msgspec.json.encode({"spec": {"replicas": number}})
        headers = self._headers() | {"Content-Type": "application/merge-patch+json"}
        reply = await self.client.request(
            url, method="PATCH", body=body, headers=headers, timeout_s=10
        )
        if reply.status != 200:
            raise CordeeError(f"{url}: answered {reply.status}: {_why(reply.body)}")

    def _headers(self) -> dict[str, str]:
        # Read each time: the cluster renews it.
        if not self.config.token_file.exists():
            return {"Accept": "application/json"}
        token = self.config.token_file.read_text("utf-8").strip()
        return {"Accept": "application/json", "Authorization": f"Bearer {token}"}


def _found(pod: Pod, port: int) -> Found:
    address = pod.status.podIP
    host = f"[{address}]" if ":" in address else address
    return Found(
        name=pod.metadata.name,
        url=f"http://{host}:{port}",
        ready=any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions),
        ending=pod.metadata.deletionTimestamp is not None,
    )


class _Status(msgspec.Struct):
    message: str = ""


def _why(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Status).message or "no reason given"
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")
