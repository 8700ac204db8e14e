"""The manifests fit together: what selects finds, what is mounted is there, what is named exists."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cordee.core.errors import UsageError
from cordee.serve.cluster.manifests import Wanted, manifests_of
from cordee.serve.pool.config import read_fleet


def made(**options: Any) -> dict[tuple[str, str], Any]:
    wanted = Wanted(name="ascend", image="i", model="/models/m", claim="c", **options)
    return {(m["kind"], m["metadata"]["name"]): m for m in manifests_of(wanted)}  # type: ignore[index]


def test_what_selects_finds_its_pods() -> None:
    all_of_it = made()
    engines = all_of_it["Deployment", "cordee-ascend"]["spec"]
    labels = engines["template"]["metadata"]["labels"]
    assert engines["selector"]["matchLabels"] == labels
    assert all_of_it["PodDisruptionBudget", "cordee-ascend"]["spec"]["selector"] == {
        "matchLabels": labels
    }
    gateway = all_of_it["Deployment", "cordee-gateway"]["spec"]["template"]
    assert all_of_it["Service", "cordee"]["spec"]["selector"] == gateway["metadata"]["labels"]
    assert gateway["spec"]["serviceAccountName"] == "cordee-gateway"


@pytest.mark.parametrize("name", ["cordee-ascend", "cordee-gateway"])
def test_what_is_mounted_is_there(name: str) -> None:
    pod = made()["Deployment", name]["spec"]["template"]["spec"]
    mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_gateway_looks_for_the_labels_that_the_engines_carry(tmp_path: Path) -> None:
    all_of_it = made(namespace="inference")
    file = tmp_path / "fleet.toml"
    file.write_text(all_of_it["ConfigMap", "cordee-fleet"]["data"]["fleet.toml"])
    assert tomllib.loads(file.read_text())["gateway"]["host"] == "0.0.0.0"
    pool = read_fleet(file).pools[0]
    assert pool.called == "m"
    assert pool.kubernetes is not None
    key, value = pool.kubernetes.labels.split("=")
    engines = all_of_it["Deployment", "cordee-ascend"]["spec"]["template"]
    assert engines["metadata"]["labels"] == {key: value}
    port = engines["spec"]["containers"][0]["ports"][0]["containerPort"]
    assert (pool.kubernetes.port, pool.kubernetes.namespace) == (port, "inference")


def test_the_gateway_may_change_what_it_is_to_scale_and_nothing_else(tmp_path: Path) -> None:
    all_of_it = made(max_replicas=6)
    file = tmp_path / "fleet.toml"
    file.write_text(all_of_it["ConfigMap", "cordee-fleet"]["data"]["fleet.toml"])
    pool = read_fleet(file).pools[0]
    assert pool.kubernetes is not None
    assert pool.scaling is not None
    assert ("Deployment", pool.kubernetes.deployment) in all_of_it
    assert (pool.scaling.min, pool.scaling.max) == (2, 6)
    rules = all_of_it["Role", "cordee-gateway"]["rules"]
    assert [rule for rule in rules if "patch" in rule["verbs"]] == [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments/scale"],
            "verbs": ["patch"],
            "resourceNames": ["cordee-ascend"],
        }
    ]
    assert len(made()["Role", "cordee-gateway"]["rules"]) == 1


def test_chips_are_asked_for_by_the_name_of_the_vendor() -> None:
    pod = made(device="ascend", chips=2)["Deployment", "cordee-ascend"]["spec"]["template"]["spec"]
    engine = pod["containers"][0]
    assert engine["resources"] == {"limits": {"huawei.com/Ascend910": 2}}
    assert "--tensor-parallel 2" in " ".join(engine["command"])


def test_a_name_that_kubernetes_refuses_is_refused_here() -> None:
    with pytest.raises(UsageError, match="Big_Name"):
        Wanted(name="Big_Name", image="i", model="/m", claim="c")


def test_the_command_prints_them_as_yaml() -> None:
    command = [sys.executable, "-m", "cordee", "serve", "manifests", "/models/m"]
    done = subprocess.run(
        [*command, "--image", "i", "--claim", "c"], capture_output=True, text=True, check=True
    )
    kinds = [document["kind"] for document in yaml.safe_load_all(done.stdout)]
    assert kinds.count("Deployment") == 2
    assert "Role" in kinds
