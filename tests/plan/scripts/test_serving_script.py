"""`cordee plan serve --script` and `--write-script`, on commands as people write them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.plan.commands import Command

from cordee.core.errors import CordeeError
from cordee.plan.deployment import Engine
from cordee.plan.model import model
from cordee.plan.scripts.serving import ServingAsked, serving_asked

ASK = Command("serve")
run = ASK.run


VLLM = """export NCCL_DEBUG=INFO
export HF_TOKEN=abc
TP=4
vllm serve Qwen/Qwen3-32B-FP8 --tensor-parallel-size $TP --max-num-seqs 256 --port 8000 \\
  --served-model-name "my model" --gpu-memory-utilization 0.9
"""
SGLANG = """python3 -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3-0324 --tp 16 --dp 4 \\
  --enable-dp-attention --ep-size 16 --trust-remote-code --mem-fraction-static 0.85 --host 0.0.0.0 \\
  --speculative-algorithm EAGLE --speculative-num-draft-tokens 2 --random-seed 7
"""


def read(folder: Path, text: str) -> ServingAsked:
    path = folder / "serve.sh"
    path.write_text(text)
    return serving_asked(path)


def planned(folder: Path, text: str, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What is written, and what is said."""
    old, new = folder / "serve.sh", folder / "new.sh"
    old.write_text(text)
    done = run("--script", str(old), "--write-script", str(new), *arguments, "--json")
    assert done.exit_code == 0, done.output
    subprocess.run(["bash", "-n", str(new)], check=True, timeout=60)
    return new.read_text(), json.loads(done.output)


def test_a_command_of_vllm_says_what_is_served(tmp_path: Path) -> None:
    asks = read(tmp_path, VLLM)
    assert (asks.model.name, asks.spread, asks.replicas) == ("Qwen3-32B", Engine(tensor=4), 1)
    assert (asks.dtype, asks.most) == ("fp8", 256)
    (remark,) = asks.remarks
    assert "is taken to have the sizes of Qwen3-32B" in remark


def test_a_model_that_is_to_be_filled_in_is_asked_for(tmp_path: Path) -> None:
    text = "vllm serve <MODEL_PATH> --seed 1024 --tensor-parallel-size 4\n"
    with pytest.raises(
        CordeeError, match="line 1: <MODEL_PATH> is to be filled in: write the model there"
    ):
        read(tmp_path, text)
    path = tmp_path / "serve.sh"
    assert serving_asked(path, model("Qwen3-32B")).spread == Engine(tensor=4)


def test_a_command_of_sglang_says_what_is_served(tmp_path: Path) -> None:
    asks = read(tmp_path, SGLANG)
    assert asks.spread == Engine(tensor=4, data=4, expert=16)
    assert (asks.chips, asks.dtype, asks.drafts) == (16, "fp8", 1)


@pytest.mark.parametrize(
    ("text", "spread", "replicas"),
    [
        ("vllm serve Qwen3-235B-A22B -tp 2 -dp 4 --enable-expert-parallel", (2, 4, 8), 1),
        ("vllm serve Qwen3-235B-A22B -tp=2 -dp=4", (2, 4, 1), 1),
        ("vllm serve Qwen3-32B -tp 2 --data-parallel-size 4", (2, 1, 1), 4),
        ("python -m vllm.entrypoints.openai.api_server --model Qwen3-8B", (1, 1, 1), 1),
        ("docker run --gpus all vllm/vllm-openai vllm serve Qwen3-8B -tp 2", (2, 1, 1), 1),
        ("docker run --gpus all vllm/vllm-openai:v0.11 --model Qwen3-8B -tp 2", (2, 1, 1), 1),
        ("python -m sglang.launch_server --model Qwen3-8B --dp-size 2", (1, 1, 1), 2),
    ],
)
def test_each_engine_counts_chips_in_its_own_way(
    tmp_path: Path, text: str, spread: tuple[int, int, int], replicas: int
) -> None:
    asks = read(tmp_path, text)
    assert (asks.spread.tensor, asks.spread.data, asks.spread.expert) == spread
    assert asks.replicas == replicas


def test_the_scripts_deployment_stands_beside_the_best(tmp_path: Path) -> None:
    path = tmp_path / "serve.sh"
    path.write_text(VLLM)
    done = run("--script", str(path), "--chip", "H100", "--chip", "910B3")
    assert done.exit_code == 0, done.output
    assert "H100-SXM: the script's deployment, 1 x TP4 in fp8: " in done.output
    assert "910B3: the script's deployment, 1 x TP4 in w8a8: " in done.output
    assert "910B3 does not multiply in fp8: reckoned in w8a8" in done.output


def test_a_command_for_nvidia_becomes_one_for_ascend(tmp_path: Path) -> None:
    text, said = planned(tmp_path, VLLM, "--chip", "H100", "--chip", "910B3")
    assert "vllm serve Qwen/Qwen3-32B-FP8" in text
    for kept in ("export HF_TOKEN=abc", "--port 8000", "--served-model-name 'my model'"):
        assert kept in text
    assert "--quantization ascend" in text
    assert "NCCL_DEBUG" not in text
    notes = "\n".join(said["written"])
    assert "the weights must be in w8a8; those of Qwen/Qwen3-32B-FP8 are in fp8" in notes
    assert "the plan does not choose it: --max-num-seqs" in notes
    assert said["written"][0].endswith(" for vLLM-Ascend on 910B3")


def test_a_command_of_one_engine_becomes_one_of_the_other(tmp_path: Path) -> None:
    text, said = planned(tmp_path, SGLANG, "--chip", "910C", "--engine", "vllm", "--tpot", "100")
    assert "vllm serve deepseek-ai/DeepSeek-V3-0324" in text
    for kept in ("--trust-remote-code", "--host 0.0.0.0", "--seed 7", '"method": "mtp"'):
        assert kept in text
    assert "--speculative-num-draft-tokens" not in text
    assert "vLLM has it otherwise: --mem-fraction-static" in "\n".join(said["written"])


def test_sglang_on_ascend_is_told_its_device(tmp_path: Path) -> None:
    new = tmp_path / "new.sh"
    arguments = ("Qwen3-32B", "--chip", "910B3", "--chips", "4", "--engine", "sglang")
    done = run(*arguments, "--write-script", str(new))
    assert done.exit_code == 0, done.output
    text = new.read_text()
    assert "--device npu" in text
    assert "--attention-backend ascend" in text
    assert '--model-path "${MODEL:?' in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo hello", "nothing in it starts `vllm serve`"),
        ('vllm serve "$MODEL"', "line 1: which model it serves is not known"),
        ("vllm serve acme/Best-7B", "acme/Best-7B: its sizes are not known here"),
        ("vllm serve Qwen3-8B -tp $(nproc)", r"-tp \$\(nproc\): a whole number"),
        ("vllm serve Qwen3-8B -tp 3", "32 attention heads do not divide by tensor 3"),
        ("vllm serve Qwen3-8B -sc '{}'", "num_speculative_tokens is needed"),
    ],
)
def test_what_is_missing_is_said_with_a_way_out(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "serve.sh"
    path.write_text(text)
    done = run("--script", str(path), "--chip", "910B3")
    assert isinstance(done.exception, CordeeError), done.output
    with pytest.raises(CordeeError, match=why):
        raise done.exception
