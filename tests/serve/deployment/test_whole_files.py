"""Compose files, manifests and values of charts are written as a whole: servers, devices, mounts, nodes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.serve.deployment.asking import Answer, asked, judged_file

DRIVER = "/usr/local/Ascend/driver/lib64"

COMPOSE = """\
# our models
x-gpu: &gpu
  runtime: nvidia
  restart: always
services:
  chat:
    <<: *gpu
    image: vllm/vllm-openai:v0.11.0  # pinned
    platform: linux/amd64
    environment:
      NVIDIA_VISIBLE_DEVICES: "2,3"
      NCCL_SOCKET_IFNAME: eth1
      HF_TOKEN: ${HF_TOKEN}
    command: >
      --model Qwen/Qwen3-32B -tp 2
      --swap-space 8
    volumes:
      - ./cache:/root/.cache   # weights
      - /usr/local/cuda:/usr/local/cuda
  small:
    image: vllm/vllm-openai:v0.11.0
    entrypoint: ["bash", "-c"]
    command:
      - |
        nvidia-smi || true
        exec vllm serve Qwen/Qwen3-8B --port 8001
    deploy:
      resources:
        limits: {memory: 8g}
        reservations:
          devices: [{driver: nvidia, device_ids: ["1"], capabilities: [gpu]}]
  embed:
    image: ghcr.io/huggingface/text-embeddings-inference:1.5
    gpus: all
  web:
    image: nginx   # as it is
"""


def the_file(answer: Answer) -> Any:
    texts = {report["text"] for report in answer.reports}
    assert len(texts) == 1
    documents = list(yaml.safe_load_all(texts.pop()))
    return documents[0] if len(documents) == 1 else documents


@pytest.fixture
def compose(tmp_path: Path) -> Answer:
    return judged_file(tmp_path / "compose.yaml", COMPOSE)


def test_every_vllm_of_a_compose_file_gets_image_command_and_its_own_chips(compose: Answer) -> None:
    chat, small = (the_file(compose)["services"][name] for name in ("chat", "small"))
    assert chat["image"] == small["image"] == "quay.io/ascend/vllm-ascend:v0.23.0"
    assert chat["command"] == ["vllm", "serve", "Qwen/Qwen3-32B", "--tensor-parallel-size", "2"]
    chips = [item for item in chat["devices"] if "davinci" in item and "manager" not in item]
    assert chips == ["/dev/davinci2:/dev/davinci2", "/dev/davinci3:/dev/davinci3"]
    assert [d for d in small["devices"] if d.startswith("/dev/davinci1:")]
    assert "/dev/davinci0:/dev/davinci0" not in small["devices"]
    assert f"{DRIVER}:{DRIVER}:ro" in chat["volumes"]
    assert chat["environment"] == {"HCCL_SOCKET_IFNAME": "eth1", "HF_TOKEN": "${HF_TOKEN}"}
    assert chat["shm_size"] == "16g"


def test_a_script_in_a_compose_file_keeps_what_else_it_does(compose: Answer) -> None:
    small = the_file(compose)["services"]["small"]
    assert small["command"][:2] == ["bash", "-c"]
    assert small["command"][2].startswith("nvidia-smi || true\nexec vllm serve Qwen/Qwen3-8B")
    assert "entrypoint" not in small


def test_what_only_nvidias_runtime_answers_is_left_out(compose: Answer) -> None:
    services = the_file(compose)["services"]
    assert "runtime" not in services["chat"]
    assert services["chat"]["restart"] == "always"
    assert "platform" not in services["chat"]
    assert "/usr/local/cuda:/usr/local/cuda" not in services["chat"]["volumes"]
    assert services["small"]["deploy"] == {"resources": {"limits": {"memory": "8g"}}}
    assert compose.verdict("runtime nvidia") == "otherwise"


def test_a_service_with_gpus_that_is_no_vllm_is_named_and_left(compose: Answer) -> None:
    assert compose.finding("service embed")["decide"]
    assert the_file(compose)["services"]["embed"]["gpus"] == "all"


def test_comments_and_other_services_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    new = tmp_path / "new.yaml"
    answer = asked("--file", str(tmp_path / "compose.yaml"), "--output", str(new))
    assert answer.code == 1
    text = new.read_text()
    assert answer.text.endswith("The new file:\n\n" + text)
    for line in (
        "# our models",
        "./cache:/root/.cache   # weights",
        "image: nginx   # as it is",
        "v0.23.0  # pinned",
    ):
        assert line in text


def test_an_image_that_is_built_is_the_users_to_build_anew(tmp_path: Path) -> None:
    text = "services:\n  a:\n    build: .\n    command: vllm serve Qwen/Qwen3-8B\n    runtime: nvidia\n"
    answer = judged_file(tmp_path / "compose.yaml", text)
    assert answer.finding("build")["decide"]
    assert the_file(answer)["services"]["a"]["build"] == "."


def test_an_image_in_a_variable_is_vllm_by_what_it_is_given(tmp_path: Path) -> None:
    text = "services:\n  a:\n    image: ${VLLM_IMAGE}\n    command: [--model, Qwen/Qwen3-8B]\n"
    answer = judged_file(tmp_path / "compose.yaml", text)
    assert answer.command == "vllm serve Qwen/Qwen3-8B"
    assert answer.finding("${VLLM_IMAGE}")["decide"]


DEPLOYMENT = """\
apiVersion: apps/v1
kind: {kind}
metadata: {{name: llm}}
spec:
  template:
    spec:
      runtimeClassName: nvidia
      nodeSelector:
        nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB
        kubernetes.io/os: linux
        team: ours
      tolerations:
        - {{key: nvidia.com/gpu, operator: Exists}}
        - {{key: dedicated, operator: Exists}}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - {{key: nvidia.com/gpu.present, operator: Exists}}
      containers:
        - name: server   # vLLM
          image: vllm/vllm-openai:v0.11.0
          args: ["--model=$(MODEL)", "--tensor-parallel-size=2"]
          env:
            - {{name: MODEL, value: Qwen/Qwen3-32B}}
            - {{name: NCCL_SOCKET_IFNAME, value: eth0}}
            - {{name: LD_LIBRARY_PATH, value: /usr/local/nvidia/lib64}}
            - {{name: HF_TOKEN, valueFrom: {{secretKeyRef: {{name: hf, key: token}}}}}}
          resources:
            limits: {{nvidia.com/gpu: "2", rdma/ib: 1, memory: 64Gi}}
            requests: {{nvidia.com/gpu: "2"}}
          volumeMounts:
            - {{name: cuda, mountPath: /usr/local/cuda}}
            - {{name: models, mountPath: /models}}
        - name: proxy
          image: envoy
          resources: {{limits: {{cpu: 1}}}}
      volumes:
        - {{name: cuda, hostPath: {{path: /usr/local/cuda}}}}
        - {{name: models, persistentVolumeClaim: {{claimName: models}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: llm}}   # in front of it
"""


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_pod_gets_all_that_it_needs_on_ascend(tmp_path: Path, kind: str) -> None:
    answer = judged_file(tmp_path / "m.yaml", DEPLOYMENT.format(kind=kind))
    pod = the_file(answer)[0]["spec"]["template"]["spec"]
    server, proxy = pod["containers"]
    assert server["image"] == "quay.io/ascend/vllm-ascend:v0.23.0"
    assert server["args"] == ["vllm", "serve", "$(MODEL)", "--tensor-parallel-size", "2"]
    assert "command" not in server  # the image's entry sets CANN's variables
    assert server["resources"] == {
        "limits": {"huawei.com/Ascend910": "2", "memory": "64Gi"},
        "requests": {"huawei.com/Ascend910": "2"},
    }
    assert [item["name"] for item in server["env"]] == ["MODEL", "HCCL_SOCKET_IFNAME", "HF_TOKEN"]
    mounts = {mount["mountPath"]: mount["name"] for mount in server["volumeMounts"]}
    assert {"/models", DRIVER, "/usr/local/dcmi", "/dev/shm"} <= set(mounts)
    assert "/usr/local/cuda" not in mounts
    paths = {volume["name"]: volume.get("hostPath") for volume in pod["volumes"]}
    assert paths[mounts[DRIVER]] == {"path": DRIVER}
    assert set(paths) == set(mounts.values())
    assert proxy == {"name": "proxy", "image": "envoy", "resources": {"limits": {"cpu": 1}}}
    assert answer.verdict("model Qwen/Qwen3-32B") == "works"


def test_a_pod_goes_to_nodes_with_ascend(tmp_path: Path) -> None:
    answer = judged_file(tmp_path / "m.yaml", DEPLOYMENT.format(kind="Deployment"))
    pod = the_file(answer)[0]["spec"]["template"]["spec"]
    assert "runtimeClassName" not in pod
    assert "affinity" not in pod
    assert pod["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    chip = {"node.kubernetes.io/npu.chip.name": "910B3"}
    assert pod["nodeSelector"] == chip | {"kubernetes.io/os": "linux", "team": "ours"}
    assert answer.finding("nodeSelector team")["decide"]
    assert not answer.finding("toleration nvidia.com/gpu")["decide"]


def test_resources_are_named_for_the_chip(tmp_path: Path) -> None:
    text = DEPLOYMENT.format(kind="Deployment")
    answer = judged_file(tmp_path / "m.yaml", text, "--chip", "Ascend310P3")
    pod = the_file(answer)[0]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["huawei.com/Ascend310P"] == "2"
    assert pod["nodeSelector"]["node.kubernetes.io/npu.chip.name"] == "310P3"


GROUP = """\
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
spec:
  leaderWorkerTemplate:
    size: 2
    leaderTemplate:
      spec:
        containers:
          - name: leader
            image: vllm/vllm-openai:v0.8.5
            command: [sh, -c]
            args:
              - >-
                bash /vllm-workspace/examples/online_serving/multi-node-serving.sh leader
                --ray_cluster_size=$(LWS_GROUP_SIZE);
                python3 -m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-235B-A22B
                --tensor-parallel-size 8 --pipeline_parallel_size 2
            resources: {limits: {nvidia.com/gpu: 8}}
    workerTemplate:
      spec:
        containers:
          - name: worker
            image: vllm/vllm-openai:v0.8.5
            command: [sh, -c, "bash /vllm-workspace/examples/online_serving/multi-node-serving.sh worker"]
            resources: {limits: {nvidia.com/gpu: 8}}
"""


def test_all_pods_of_a_group_are_moved(tmp_path: Path) -> None:
    answer = judged_file(tmp_path / "lws.yaml", GROUP)
    group = the_file(answer)["spec"]["leaderWorkerTemplate"]
    for name in ("leader", "worker"):
        pod = group[f"{name}Template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"].startswith("quay.io/ascend/vllm-ascend")
        assert container["resources"]["limits"] == {"huawei.com/Ascend910": 8}
        env = {item["name"]: item for item in container["env"]}
        assert env["HCCL_IF_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
        assert env["GLOO_SOCKET_IFNAME"]["value"] == "eth0"
        assert {"/etc/hccn.conf", DRIVER} <= {m["mountPath"] for m in container["volumeMounts"]}
        script = container["args"][-1]
        assert (
            f"/vllm-workspace/vllm/examples/online_serving/multi-node-serving.sh {name}" in script
        )
    leader = group["leaderTemplate"]["spec"]["containers"][0]["args"][-1]
    assert "--ray_cluster_size=$(LWS_GROUP_SIZE)" in leader
    assert "; vllm serve Qwen/Qwen3-235B-A22B --tensor-parallel-size 8" in leader


def test_two_servers_in_one_script_are_both_written(tmp_path: Path) -> None:
    script = "vllm serve Qwen/Qwen3-8B --port 1 --swap-space 4 & vllm serve Qwen/Qwen3-32B --swap-space 4"
    container = {"name": "c", "image": "vllm/vllm-openai", "command": ["sh", "-c", script]}
    pod = {"kind": "Pod", "spec": {"containers": [container]}}
    answer = judged_file(tmp_path / "p.yaml", yaml.safe_dump(pod))
    assert len(answer.reports) == 2
    text = the_file(answer)["spec"]["containers"][0]["args"][2]
    assert text == "vllm serve Qwen/Qwen3-8B --port 1 & vllm serve Qwen/Qwen3-32B"


STACK = """\
servingEngineSpec:
  runtimeClassName: nvidia
  tolerations:
    - {key: nvidia.com/gpu, operator: Exists}
  modelSpec:
    - name: qwen   # ours
      repository: vllm/vllm-openai
      tag: v0.11.0
      modelURL: Qwen/Qwen3-32B
      requestCPU: 8
      requestMemory: 64Gi
      requestGPU: 4
      vllmConfig:
        tensorParallelSize: 4
        maxModelLen: 8192   # tokens
        extraArgs: ["--swap-space", "8", "--seed", "1"]
      lmcacheConfig:
        enabled: true
      env:
        - {name: NCCL_DEBUG, value: INFO}
      nodeSelectorTerms:
        - matchExpressions:
            - {key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-A100]}
    - name: off
      enabled: false
      modelURL: a/b
"""


def test_values_of_the_stack_are_written_for_ascend(tmp_path: Path) -> None:
    answer = judged_file(tmp_path / "values.yaml", STACK)
    assert len(answer.reports) == 1
    engines = the_file(answer)["servingEngineSpec"]
    assert engines["runtimeClassName"] == ""
    assert engines["tolerations"] == []
    spec = engines["modelSpec"][0]
    assert (spec["repository"], spec["tag"]) == ("quay.io/ascend/vllm-ascend", "v0.23.0")
    assert (spec["requestGPU"], spec["requestGPUType"]) == (4, "huawei.com/Ascend910")
    assert spec["vllmConfig"] == {
        "tensorParallelSize": 4,
        "maxModelLen": 8192,
        "extraArgs": ["--seed", "1"],
    }
    assert spec["lmcacheConfig"] == {"enabled": False}
    assert {"name": "ascend-lib64", "hostPath": {"path": DRIVER}} in spec["extraVolumes"]
    assert DRIVER in {mount["mountPath"] for mount in spec["extraVolumeMounts"]}
    (term,) = spec["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["910B3"]
    assert answer.finding("lmcacheConfig")["decide"]
    assert "maxModelLen: 8192   # tokens" in answer.reports[0]["text"]


def test_values_of_vllms_own_chart_are_told_to_be_rendered(tmp_path: Path) -> None:
    text = (
        "image: {repository: vllm/vllm-openai, tag: v1, command: [vllm, serve, Qwen/Qwen3-8B]}\n"
        "resources: {requests: {nvidia.com/gpu: 1}, limits: {nvidia.com/gpu: 1}}\n"
    )
    answer = judged_file(tmp_path / "values.yaml", text)
    assert "helm template" in answer.finding("the chart's templates")["instead"]
    assert the_file(answer)["resources"]["limits"] == {"huawei.com/Ascend910": 1}


def test_a_template_of_a_chart_is_refused_with_the_way_out(tmp_path: Path) -> None:
    text = "kind: Deployment\nspec: {{- toYaml .Values.spec | nindent 2 }}\n  x: [\n"
    answer = judged_file(tmp_path / "t.yaml", text)
    assert answer.code == 2
    assert "helm template" in answer.text
