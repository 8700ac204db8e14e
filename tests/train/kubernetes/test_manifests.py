"""Do the manifests fit together and Kubernetes, and does a job train that is started as they say?"""

import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.train.jobs import SMALL, Ended
from tests.train.test_hosts import Hosts

from cordee.core.errors import UsageError
from cordee.train.hosts import PORT
from cordee.train.kubernetes.manifests import INDEX, Wanted, manifests_of

FIELDS = {
    row["name"]: row
    for row in tomllib.loads((Path(__file__).parent / "fields.toml").read_text())["row"]
}
PLAIN = {"str": str, "int": int, "bool": bool}


def made(*words: str, **options: Any) -> dict[str, Any]:
    """By kind."""
    wanted = Wanted(
        **{"name": "gpt", "image": "i", "secret": "known", "words": words or ("train.py",)}
        | options
    )
    return {str(manifest["kind"]): manifest for manifest in manifests_of(wanted)}


def pod(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(**options)["Job"]["spec"]["template"]["spec"]
    return found


def wrong(value: Any, kind: str, at: str) -> Iterator[str]:
    """What of a manifest is not as the specification has it."""
    if listed := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        for number, item in enumerate(value):
            yield from wrong(item, listed[1], f"{at}[{number}]")
    elif mapped := re.fullmatch(r"[Dd]ict\[str, (.+)\]", kind):
        for key, item in value.items():
            yield from wrong(item, mapped[1], f"{at}.{key}")
    elif kind in FIELDS:
        fields, needed = FIELDS[kind]["fields"], set(FIELDS[kind]["required"])
        yield from (f"{at}: {name} is missing" for name in needed - value.keys())
        for name, item in value.items():
            if name in fields:
                yield from wrong(item, fields[name], f"{at}.{name}")
            else:
                yield f"{at}: {name} is no field"
    elif not isinstance(value, PLAIN.get(kind, object)):
        yield f"{at}: {value!r} is no {kind}"


@pytest.mark.parametrize(
    "options", [{}, {"device": "cpu", "claim": "shared", "memory": "64Gi", "spares": 2}]
)
def test_they_are_as_the_specification_of_kubernetes_has_them(options: dict[str, Any]) -> None:
    for kind, manifest in made(**options).items():
        assert list(wrong(manifest, f"V1{kind}", kind)) == []


def test_a_field_that_kubernetes_does_not_know_would_be_seen() -> None:
    job = made()["Job"]
    job["spec"]["template"]["spec"]["containers"][0]["enviroment"] = []
    job["spec"]["completions"] = "2"
    assert list(wrong(job, "V1Job", "Job")) == [
        "Job.spec.completions: '2' is no int",
        "Job.spec.template.spec.containers[0]: enviroment is no field",
    ]


def test_pods_are_found_by_the_names_that_agents_are_told() -> None:
    all_of_it = made(hosts=3)
    job, service = all_of_it["Job"], all_of_it["Service"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert service["spec"]["clusterIP"] == "None"
    template = job["spec"]["template"]["spec"]
    assert template["subdomain"] == service["metadata"]["name"]
    told = variables(template, 0, "10.0.0.7", all_of_it["Secret"])
    assert told["PET_RDZV_ENDPOINT"] == "gpt-0.gpt:29400,gpt-1.gpt:29400,gpt-2.gpt:29400"
    assert (job["spec"]["completions"], told["PET_NNODES"]) == (3, "3:3")


def test_chips_are_asked_for_by_the_name_of_the_vendor_and_each_gets_a_worker() -> None:
    [container] = pod(hosts=2, per_host=4, spares=1)["containers"]
    assert container["resources"] == {"limits": {"huawei.com/Ascend910": "4"}}
    words = " ".join(container["command"])
    assert "--workers 7 --per-host 4 --spares 1 --chips 4" in words
    [container] = pod(device="cpu")["containers"]
    assert "resources" not in container
    assert "--chips" not in container["command"]


def test_what_is_mounted_is_there() -> None:
    found = pod(claim="shared", memory="64Gi")
    mounts = {mount["name"]: mount["mountPath"] for mount in found["containers"][0]["volumeMounts"]}
    assert mounts == {"memory": "/dev/shm", "job": "/job"}
    assert found["volumes"] == [
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}},
        {"name": "job", "persistentVolumeClaim": {"claimName": "shared"}},
    ]


def test_a_job_that_fails_is_not_begun_again_and_a_pod_that_is_lost_is_replaced() -> None:
    spec = made()["Job"]["spec"]
    ignored, failed = spec["podFailurePolicy"]["rules"]
    assert (ignored["action"], failed["action"]) == ("Ignore", "FailJob")
    assert 128 + signal.SIGKILL not in failed["onExitCodes"]["values"]
    assert failed["onExitCodes"]["containerName"] == pod()["containers"][0]["name"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # else there is no such policy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "Big_Name"}, "Big_Name"),
        ({"name": "a" * 63}, "too long"),
        ({"hosts": 1, "per_host": 2, "spares": 2}, "2 spares"),
        ({"least_hosts": 3}, "at least 3 hosts"),
        ({"device": "tpu"}, "none of cpu, ascend"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made(**options)


def variables(
    template: dict[str, Any], number: int, address: str, secret: dict[str, Any]
) -> dict[str, str]:
    """The environment of a pod, as Kubernetes makes it."""
    fields = {f"metadata.annotations['{INDEX}']": str(number), "status.podIP": address}
    made: dict[str, str] = {}
    for variable in template["containers"][0]["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            made[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            assert source["secretKeyRef"]["name"] == secret["metadata"]["name"]
            made[variable["name"]] = secret["stringData"][source["secretKeyRef"]["key"]]
        else:
            made[variable["name"]] = variable["value"]
    return made


def test_agents_that_are_started_as_the_manifests_say_train(
    undisturbed: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "cordee", "train", "manifests", "--image", "i"]
    options = ["--device", "cpu", "--per-host", "1", "--name", "gpt", "--", "--page", "off", "--"]
    done = subprocess.run(
        [*command, *options, str(SMALL), "--shard-s", "0.05"],
        capture_output=True,
        text=True,
        check=True,
    )
    secret, _, job = yaml.safe_load_all(done.stdout)
    template = job["spec"]["template"]["spec"]
    port = Hosts(tmp_path, 2).port
    agents: list[subprocess.Popen[str]] = []
    for number, address in enumerate(("127.0.0.1", "127.0.0.2")):
        told = variables(template, number, address, secret)
        words = [
            re.sub(r"\$\((\w+)\)", lambda match, told=told: told[match[1]], word)
            for word in template["containers"][0]["command"]
        ]
        # Names are the cluster's to know, and a port of this computer may be taken.
        here = [("gpt-0.gpt", "127.0.0.1"), ("gpt-1.gpt", "127.0.0.2"), (str(PORT), str(port))]
        for name, known in here:
            told = {key: value.replace(name, known) for key, value in told.items()}
            words = [word.replace(name, known) for word in words]
        agents.append(
            subprocess.Popen(
                [sys.executable, *words[1:]],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env=os.environ | told | {"TMPDIR": str(tmp_path)},
            )
        )
    try:
        for agent in agents:
            out, err = agent.communicate(timeout=240)
            assert (agent.returncode, "done: 20 steps" in out) == (0, True), err
    finally:
        for agent in agents:
            with suppress(ProcessLookupError):
                os.killpg(agent.pid, signal.SIGKILL)
            agent.communicate()
    folders = [Ended(0, "", "", log.parent) for log in tmp_path.rglob("events.jsonl")]
    assert len(folders) == 2
    assert [ended.digests for ended in folders] == [[undisturbed], [undisturbed]]
