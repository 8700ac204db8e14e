"""Scripts, Dockerfiles, compose files and manifests are read, and written for Ascend in their own kind."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.serve.deployment.asking import asked, judged, judged_file

SCRIPT = r"""#!/bin/bash
set -euo pipefail
# how the model is served
export CUDA_VISIBLE_DEVICES=0,1,2,3
MODEL="${1:-Qwen/Qwen3-32B}"
PORT=${PORT:-8000}
EXTRA="--max-num-seqs 64 --seed 1"
ARGS=(
  --max-model-len 32768   # tokens
  --swap-space 4
)
if [ -n "$PORT" ]; then
  exec numactl --cpunodebind=0 vllm serve "$MODEL" \
    --port $PORT --hf-overrides '{"it''s": 1}' \
    $EXTRA "${ARGS[@]}" > log.txt 2>&1 &
fi
cat <<END
vllm serve not/this
END
"""


def test_a_script_is_read_with_its_variables(tmp_path: Path) -> None:
    answer = judged_file(tmp_path / "serve.sh", SCRIPT)
    report = answer.reports[0]
    assert len(answer.reports) == 1
    assert report["line"] == 13
    assert answer.verdict("model Qwen/Qwen3-32B") == "works"
    assert answer.verdict("--swap-space 4") == "meaningless"
    assert report["environment"] == {"ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3"}
    assert report["chips"] == 4


def test_a_new_script_means_what_the_old_one_did(tmp_path: Path) -> None:
    """Both are run with a `vllm` that prints its words."""
    (tmp_path / "old.sh").write_text(
        SCRIPT.replace("> log.txt 2>&1 &", "").replace("numactl --cpunodebind=0", "")
    )
    asked("--file", str(tmp_path / "old.sh"), "--output", str(tmp_path / "new.sh"))
    (tmp_path / "vllm").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "vllm").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def words(script: str) -> list[str]:
        done = subprocess.run(
            ["/bin/bash", script, "a model"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return [line for line in done.stdout.splitlines() if line not in ("--swap-space", "4")]

    assert words("new.sh") == words("old.sh")
    assert "a model" in words("new.sh")


def test_a_blank_behind_a_backslash_is_found(tmp_path: Path) -> None:
    answer = judged_file(tmp_path / "s.sh", "vllm serve Qwen/Qwen3-8B \\ \n  --port 1\n")
    assert "blank after a backslash" in answer.finding("' '")["says"]


def test_the_old_entry_of_the_server_becomes_vllm_serve() -> None:
    for entry in (
        "python -m vllm.entrypoints.openai.api_server",
        "python3 -m vllm.entrypoints.cli.main serve",
    ):
        assert (
            judged(f"{entry} --model Qwen/Qwen3-8B --port 1").command
            == "vllm serve Qwen/Qwen3-8B --port 1"
        )


def test_several_servers_are_told_apart(tmp_path: Path) -> None:
    text = "P=1\nvllm serve a/b --port $P &\nP=2\nvllm serve c/d --port $P && echo done\n"
    answer = judged_file(tmp_path / "two.sh", text)
    assert [r["line"] for r in answer.reports] == [2, 4]
    subjects = [f["subject"] for r in answer.reports for f in r["findings"]]
    assert {"--port 1", "--port 2"} <= set(subjects)


DOCKER = r"""docker run --runtime nvidia --gpus '"device=0,1"' \
  -v ~/.cache/huggingface:/root/.cache/huggingface -it --rm \
  --env "HF_TOKEN=$HF_TOKEN" -e NCCL_P2P_DISABLE=1 -p 8000:8000 --ipc=host \
  vllm/vllm-openai:v0.6.3 --model meta-llama/Llama-3.1-8B-Instruct -tp 2
"""


@pytest.mark.parametrize(
    ("chip", "suffix"), [("Ascend910B3", ""), ("Ascend910_9392", "-a3"), ("Ascend310P3", "-310p")]
)
def test_docker_run_gets_image_and_devices(chip: str, suffix: str) -> None:
    report = judged(DOCKER, "--chip", chip).reports[0]
    text = report["text"]
    assert report["image"] == f"quay.io/ascend/vllm-ascend:v0.23.0{suffix}"
    for part in (
        "--device /dev/davinci0",
        "--device /dev/davinci1",
        "/dev/davinci_manager",
        "-p 8000:8000",
    ):
        assert part in text
    assert "davinci2" not in text
    assert "nvidia" not in text
    assert "--gpus" not in text
    assert "-v ~/.cache/huggingface:/root/.cache/huggingface" in text
    assert '--env "HF_TOKEN=$HF_TOKEN"' in text
    assert f"v0.23.0{suffix} \\\n  vllm serve meta-llama/Llama-3.1-8B-Instruct" in text


def test_an_image_of_the_users_own_must_be_built_anew() -> None:
    answer = judged("docker run --gpus all me/mine:1 vllm serve Qwen/Qwen3-8B")
    assert answer.finding("me/mine:1")["decide"]


def test_an_image_of_vllm_ascend_stays() -> None:
    answer = judged("docker run quay.io/ascend/vllm-ascend:v0.18.0 vllm serve Qwen/Qwen3-8B")
    assert answer.reports[0]["image"] == "quay.io/ascend/vllm-ascend:v0.18.0"
    assert answer.code == 0


def test_a_shell_inside_docker_is_read() -> None:
    answer = judged(
        """docker run -e NCCL_DEBUG=INFO vllm/vllm-openai bash -c "cd / && vllm serve a/b -tp 2" """
    )
    assert answer.verdict("NCCL_DEBUG") == "otherwise"
    assert answer.command == "vllm serve a/b --tensor-parallel-size 2"


def test_a_dockerfile_is_written_as_one(tmp_path: Path) -> None:
    text = (
        "FROM vllm/vllm-openai:v0.9.2 AS base\nENV CUDA_VISIBLE_DEVICES=0 \\\n    VLLM_USE_V1=1\n"
        'RUN pip install x\nENTRYPOINT ["vllm", "serve"]\nCMD ["Qwen/Qwen3-8B", "--dtype", "half"]\n'
    )
    answer = judged_file(tmp_path / "Dockerfile", text)
    assert answer.reports[0]["text"].splitlines() == [
        "FROM quay.io/ascend/vllm-ascend:v0.23.0",
        "ENV ASCEND_RT_VISIBLE_DEVICES=0",
        'ENTRYPOINT ["vllm", "serve", "Qwen/Qwen3-8B", "--dtype", "half"]',
    ]


def test_a_compose_file_gets_devices_for_its_gpus(tmp_path: Path) -> None:
    compose = {
        "services": {
            "web": {"image": "nginx", "command": ["nginx"]},
            "llm": {
                "image": "vllm/vllm-openai:v0.11.0",
                "environment": ["HF_TOKEN=${HF_TOKEN}", "NVIDIA_VISIBLE_DEVICES=all"],
                "command": "--model Qwen/Qwen3-8B -tp 2",
                "deploy": {"resources": {"reservations": {"devices": [{"count": 2}]}}},
            },
        }
    }
    answer = judged_file(tmp_path / "compose.yaml", yaml.safe_dump(compose))
    assert len(answer.reports) == 1
    service = yaml.safe_load(answer.reports[0]["text"])["services"]["llm"]
    assert service["image"] == "quay.io/ascend/vllm-ascend:v0.23.0"
    assert service["command"][:3] == ["vllm", "serve", "Qwen/Qwen3-8B"]
    assert service["environment"] == ["HF_TOKEN=${HF_TOKEN}"]
    assert "/dev/davinci1:/dev/davinci1" in service["devices"]
    assert "/dev/davinci2:/dev/davinci2" not in service["devices"]


def test_a_manifest_asks_for_npus_and_keeps_its_secrets(tmp_path: Path) -> None:
    secret = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:latest",
        "command": ["/bin/sh", "-c"],
        "args": ["vllm serve Qwen/Qwen3-8B --enable-prefix-caching"],
        "env": [{"name": "VLLM_USE_DEEP_GEMM", "value": "1"}, secret],
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}
    answer = judged_file(tmp_path / "pod.yaml", yaml.safe_dump(pod))
    [written] = yaml.safe_load(answer.reports[0]["text"])["spec"]["containers"]
    assert written["env"] == [secret]
    assert written["resources"]["limits"] == {"huawei.com/Ascend910": "2"}
    assert written["args"][:2] == ["/bin/sh", "-c"]
    assert written["args"][2] == "vllm serve Qwen/Qwen3-8B --enable-prefix-caching"


def test_standard_input_is_read() -> None:
    assert asked("--file", "-", given="vllm serve Qwen/Qwen3-8B\n").code == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "services: [\n"),
        ("Dockerfile", 'FROM x\nCMD ["vllm", \n'),
        ("a.sh", 'vllm serve "x\n'),
        ("empty.sh", ""),
        ("list.yaml", "- 1\n"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_2(tmp_path: Path, name: str, text: str) -> None:
    answer = judged_file(tmp_path / name, text)
    assert answer.code == 2
    assert name in answer.text


def test_a_file_in_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00vllm serve")
    assert asked("--file", str(tmp_path / "x")).code == 2


def test_output_is_json_for_machines_too(tmp_path: Path) -> None:
    out = tmp_path / "new.sh"
    answer = asked("--json", "--output", str(out), "vllm serve Qwen/Qwen3-8B")
    assert json.loads(answer.text)[0]["text"] == "vllm serve Qwen/Qwen3-8B\n"
    assert out.read_text() == "#!/bin/bash\nvllm serve Qwen/Qwen3-8B\n"
