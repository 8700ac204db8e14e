"""Engines come and go in a cluster, and the service follows; a server plays the API of Kubernetes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cordee.core.errors import CordeeError, UsageError
from cordee.core.http.exchange import Exchange
from cordee.core.http.server import listen
from cordee.serve.cluster.kubernetes import Kubernetes, KubernetesConfig
from cordee.serve.pool.config import PoolConfig
from cordee.serve.pool.local import LocalFleet


def pod(name: str, address: str, *, ready: bool = True, ending: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": {"app": "engine"}}
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "status": {"podIP": address, "conditions": conditions}}


class ApiServer:
    """Lists pods to who has the token."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.changed: list[tuple[str, str, object]] = []

    def handle(self, exchange: Exchange) -> None:
        self.asked.append((exchange.path, dict(exchange.query)))
        if exchange.headers.get("authorization") != "Bearer secret":
            refusal = {"kind": "Status", "code": 403, "message": "pods is forbidden"}
            exchange.send(403, json.dumps(refusal).encode())
            return
        if exchange.method == "PATCH":
            kind = exchange.headers["content-type"]
            self.changed.append((exchange.path, kind, json.loads(exchange.body)))
            exchange.send(200, b'{"kind": "Scale"}')
            return
        exchange.send(200, json.dumps({"kind": "PodList", "items": self.pods}).encode())


@asynccontextmanager
async def cluster(folder: Path, token: str = "secret") -> AsyncIterator[tuple[ApiServer, Any]]:
    api = ApiServer()
    listener = await listen(api.handle, "127.0.0.1", 0)
    file = folder / "token"
    file.write_text(token + "\n")
    url = f"http://127.0.0.1:{listener.port}"
    config = KubernetesConfig(
        namespace="models", labels="app=engine", port=9000, api=url, token_file=file
    )
    try:
        yield api, config
    finally:
        await listener.close()


def test_engines_are_found_by_their_labels(tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path) as (api, config):
            api.pods = [pod("a", "10.0.0.1"), pod("b", "fd00::1", ready=False), pod("c", "")]
            found = await Kubernetes(config).engines()
            assert [(f.name, f.url, f.ready) for f in found] == [
                ("a", "http://10.0.0.1:9000", True),
                ("b", "http://[fd00::1]:9000", False),
            ]
            path, query = api.asked[0]
            assert path == "/api/v1/namespaces/models/pods"
            assert query == {"labelSelector": "app=engine"}

    asyncio.run(main())


def test_a_refusal_is_told_in_the_servers_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, token="wrong") as (_, config):
            with pytest.raises(CordeeError, match="403: pods is forbidden"):
                await Kubernetes(config).engines()
            fleet = LocalFleet([PoolConfig(name="p", model="m", kubernetes=config)], tmp_path)
            fleet.start()
            with pytest.raises(UsageError, match=r"pool p: .*pods is forbidden"):
                await fleet.first_ready()
            await fleet.stop()

    asyncio.run(main())


def test_replicas_follow_the_pods(tmp_path: Path) -> None:
    async def states(fleet: LocalFleet, wanted: dict[str, str]) -> None:
        async with asyncio.timeout(30):
            while {r.name: r.state for r in fleet.replicas()} != wanted:
                await asyncio.sleep(0.02)

    async def main() -> None:
        async with cluster(tmp_path) as (api, config):
            api.pods = [pod("a", "10.0.0.1"), pod("b", "10.0.0.2", ready=False)]
            fleet = LocalFleet([PoolConfig(name="p", model="m", kubernetes=config)], tmp_path)
            fleet.start()
            await fleet.first_ready()
            await states(fleet, {"a": "ready"})
            api.pods = [pod("a", "10.0.0.1", ending=True), pod("b", "10.0.0.2")]
            await states(fleet, {"a": "draining", "b": "ready"})
            api.pods = api.pods[1:]
            await states(fleet, {"b": "ready"})
            await fleet.stop()

    asyncio.run(main())


def test_a_deployment_is_given_another_number_of_engines(tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path) as (api, config):
            await Kubernetes(replace(config, deployment="engines")).scale(3)
            path = "/apis/apps/v1/namespaces/models/deployments/engines/scale"
            assert api.changed == [
                (path, "application/merge-patch+json", {"spec": {"replicas": 3}})
            ]

    asyncio.run(main())


def test_outside_a_cluster_the_server_must_be_named() -> None:
    with pytest.raises(UsageError, match="kubectl proxy"):
        KubernetesConfig(labels="a=b").server({})
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert KubernetesConfig(labels="a=b").server(inside) == "https://10.0.0.1:6443"
