"""`cordee plan train --script`, on launch scripts as people write them."""

import re
from pathlib import Path

import pytest
from tests.plan.commands import Command

from cordee.core.errors import CordeeError
from cordee.plan.model import named
from cordee.plan.scripts.megatron import Asked, asked

ASK = Command("train")
run, planned, refused = ASK.run, ASK.planned, ASK.refused

QWEN = """#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=1
GPUS_PER_NODE=8
NNODES=${NNODES:-2}
TP=8
PP=2
DISTRIBUTED_ARGS="
    --nproc_per_node $GPUS_PER_NODE \\
    --nnodes $NNODES \\
    --master_addr localhost
"
MODEL_ARGS=(
    --num-layers 64              # as published
    --hidden-size 5120
    --ffn-hidden-size 25600
    --num-attention-heads 64
    --group-query-attention --num-query-groups 8
    --kv-channels 128 --qk-layernorm
    --swiglu --normalization RMSNorm --disable-bias-linear
    --untie-embeddings-and-output-weights
    --padded-vocab-size 151936
)
TRAIN_ARGS="
    --micro-batch-size 1 --global-batch-size=$((GPUS_PER_NODE * NNODES * 4)) \\
    --seq-length 4096 --bf16 --lr 1e-5 --use-distributed-optimizer --sequence-parallel
"
torchrun $DISTRIBUTED_ARGS pretrain_gpt.py \\
    "${MODEL_ARGS[@]}" \\
    $TRAIN_ARGS \\
    --tensor-model-parallel-size ${TP} --pipeline-model-parallel-size ${PP} \\
    --load "$CHECKPOINT" | tee train.log
"""
MIXTURE = """msrun --worker_num=32 --local_worker_num=8 pretrain_gpt.py \\
  --num-layers 28 --hidden-size 2048 --ffn-hidden-size 10944 --num-attention-heads 16 \\
  --multi-latent-attention --kv-lora-rank 512 --qk-head-dim 128 --qk-pos-emb-head-dim 64 \\
  --v-head-dim 128 --num-experts 64 --moe-router-topk 6 --moe-ffn-hidden-size 1408 \\
  --moe-shared-expert-intermediate-size 2816 --moe-layer-freq '([0]*1+[1]*26)' --noop-layers 27 \\
  --untie-embeddings-and-output-weights --swiglu --disable-bias-linear --vocab-size 102400 \\
  --seq-length 4096 --micro-batch-size 1 --global-batch-size 128 --bf16 \\
  --tensor-model-parallel-size 2 --expert-model-parallel-size 8 --expert-tensor-parallel-size 1
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "pretrain.sh"
    path.write_text(QWEN)
    return path


def read(path: Path, text: str) -> Asked:
    path.write_text(text)
    return asked(path)


def test_a_script_of_megatron_says_all_that_a_plan_needs(script: Path) -> None:
    job = asked(script).job
    assert job.model.parameters == named("Qwen3-32B").parameters
    assert job.layout.words == "TP8 PP2 DP1 MB1 ZeRO1"
    assert (job.layout.chips, job.sequence, job.batch) == (16, 4096, 64)
    assert asked(script).remarks == ()


def test_a_mixture_with_latent_attention_is_the_one_that_is_published(tmp_path: Path) -> None:
    job = read(tmp_path / "mixture.sh", MIXTURE).job
    assert job.model.parameters == named("DeepSeek-V2-Lite").parameters
    assert (job.layout.chips, job.layout.expert) == (32, 8)


def test_the_scripts_layout_stands_beside_the_best(script: Path) -> None:
    done = run("--script", str(script), "--chip", "A100", "--chip", "910B2")
    assert done.exit_code == 0, done.output
    assert "910B2: the script's layout, TP8 PP2 DP1 MB1 ZeRO1:" in done.output
    assert "% faster" in done.output


def test_the_best_is_compared_under_the_scripts_program(script: Path) -> None:
    plain = planned("--script", str(script), "--chip", "910B2", "--top", "100")
    own = plain["script"]["as_it_is"][0]
    same = [
        plan
        for plan in plain["chips"][0]["plans"]
        if all(
            plan["layout"][name] == value
            for name, value in {
                "tensor": 8, "pipeline": 2, "chunks": 1, "schedule": "1f1b", "micro_batch": 1,
                "recompute": "none",
            }.items()
        )
    ]  # fmt: skip
    assert [plan["step_s"] for plan in same] == [pytest.approx(own["step_s"])]
    script.write_text(QWEN.replace("--bf16", "--bf16 --use-ascend-mc2"))
    hidden = planned("--script", str(script), "--chip", "910B2")["script"]["as_it_is"][0]
    assert hidden["step_s"] < own["step_s"]


def test_turns_that_the_software_of_a_chip_does_not_take_are_said(script: Path) -> None:
    script.write_text(QWEN.replace("--bf16", "--bf16 --schedules-method dualpipev"))
    done = run("--script", str(script), "--chip", "H100", "--chip", "910B3")
    assert "megatron-bridge does not run dualpipev-whole; it is in: MindSpeed-LLM" in done.output
    assert "mindspeed does not run" not in done.output


def test_a_layout_that_does_not_fit_is_said(script: Path) -> None:
    script.write_text(QWEN.replace("TP=8", "TP=1").replace("PP=2", "PP=4"))
    assert "does not fit" in run("--script", str(script), "--chip", "910B2").output


def test_options_of_the_command_count_before_those_of_the_script(script: Path) -> None:
    found = planned(
        "--script", str(script), "--chip", "910B2", "--chips", "64", "--sequence", "8192"
    )
    assert found["sequence"] == 8192
    assert found["chips"][0]["plans"][0]["layout"]["chips"] > 57
    assert found["script"]["as_it_is"][0]["chips"] == 64


def test_what_is_not_understood_is_named_with_its_line(script: Path) -> None:
    script.write_text(QWEN.replace("--lr 1e-5", "--lr 1e-5 --log-npu-power 4"))
    (remark,) = asked(script).remarks
    assert remark == (
        f"{script}, line 25: --log-npu-power 4: not understood, so the plan leaves it out"
    )
    assert remark in run("--script", str(script), "--chip", "910B2").output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--normalization RMSNorm", "--normalization LayerNorm", "LayerNorm: reckoned as RMSNorm"),
        ("--disable-bias-linear", "", "biases of products are left out"),
        ("--bf16", "", "no --bf16 or --fp16: reckoned in bf16"),
        ("TP=8", "if nvidia-smi; then\nTP=8\nfi", "line 5: which way it goes only the run knows"),
    ],
)
def test_what_is_reckoned_otherwise_is_said(script: Path, old: str, new: str, said: str) -> None:
    assert said in "\n".join(read(script, QWEN.replace(old, new)).remarks)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("--schedules-method dualpipev", "dualpipev-whole"),
        ("--schedules-method dualpipev --dualpipev-dw-detach", "dualpipev"),
        ("--enable-zero-bubble --zero-bubble-max-pending-backward 2", "zb-h1"),
        ("--enable-zero-bubble --zero-bubble-max-pending-backward 4", "zb-h2"),
        ("--zero-bubble-v-schedule", "zb-v"),
    ],
)
def test_how_stages_take_turns_is_read(script: Path, options: str, name: str) -> None:
    found = read(script, QWEN.replace("--bf16", f"--bf16 {options}"))
    assert found.job.layout.schedule == name
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "--zero-bubble-v-schedule --zero-bubble-v-schedule-mem-setup half",
            "half: reckoned as zb",
        ),
        ("--enable-zero-bubble --zero-bubble-max-pending-backward auto", "auto: reckoned as one"),
    ],
)
def test_turns_that_are_reckoned_otherwise_are_said(script: Path, options: str, said: str) -> None:
    (remark,) = read(script, QWEN.replace("--bf16", f"--bf16 {options}")).remarks
    assert said in remark


@pytest.mark.parametrize(
    "text",
    [
        'TP=8\nif [[ "$PP" == "2" ]]; then\n TP=2\nfi',
        "TP=2\nif [ $GPUS_PER_NODE -gt 8 ]; then TP=8; fi",
        'if [ -z "" ]\nthen\n TP=2\nelse\n TP=8\nfi',
        "if [[ $PP == 4 ]]; then\n TP=8\nelif [[ $PP == 2 ]]; then\n TP=2\nelse\n TP=4\nfi",
        "TP=2\nif [ $PP = 4 ]; then\n if [ $PP = 2 ]; then\n TP=8\n fi\n TP=4\nfi",
    ],
)
def test_a_condition_is_followed_where_the_script_itself_tells(script: Path, text: str) -> None:
    plain = QWEN.replace("TP=8\nPP=2", "PP=2\n" + text)
    found = read(script, plain)
    assert found.job.layout.tensor == 2
    assert found.remarks == ()


@pytest.mark.parametrize(
    "text",
    [
        "TP=2\nif [[ $PP == 2 ]] && nvidia-smi; then\n TP=8\nfi",
        "TP=2\nif [[ $RANK == 2 ]]; then\n TP=4\nelse\n TP=8\nfi",
        "TP=2\n[[ -f setup ]] && TP=8",
        "for TP in 2 4; do echo $TP; done\nTP=8",
    ],
)
def test_where_only_the_run_knows_both_ways_are_read_and_that_is_said(
    script: Path, text: str
) -> None:
    found = read(script, QWEN.replace("TP=8\nPP=2", "PP=2\n" + text))
    assert found.job.layout.tensor == 8
    assert "only the run knows" in "\n".join(found.remarks)


def test_experts_that_are_cut_are_said(tmp_path: Path) -> None:
    path = tmp_path / "mixture.sh"
    assert read(path, MIXTURE).remarks == ()
    (remark,) = read(path, MIXTURE.replace("--expert-tensor-parallel-size 1", "")).remarks
    assert "each expert is cut over 2 chips" in remark


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("NNODES=${NNODES:-2}", "", r"line \d+: how many processes .* give --chips"),
        ("--num-layers 64 ", "", "--num-layers, --hidden-size.*give its config.json"),
        ("--padded-vocab-size 151936", "", "add --padded-vocab-size"),
        ("--seq-length 4096", "", "--seq-length is missing"),
        ("TP=8", "TP=$(nproc)", r"--tensor-model-parallel-size \$\(nproc\): a whole number"),
        ("TP=8", "TP=3", "16 chips do not divide by tensor 3"),
        ("torchrun", "echo", "nothing in it starts a training"),
        ("--bf16", "--bf16 --schedules-method gpipe", "line 25: .* gpipe: dualpipev is known"),
        (
            "--bf16",
            "--bf16 --schedules-method dualpipev --micro-batch-size 32",
            "2 micro-batches are too few for pipeline 2: 4 or more",
        ),
        ("$TRAIN_ARGS", '$TRAIN_ARGS "', "is opened and not closed"),
    ],
)
def test_what_is_missing_is_said_with_a_way_out(script: Path, old: str, new: str, why: str) -> None:
    script.write_text(QWEN.replace(old, new))
    assert re.search(why, refused("--script", str(script), "--chip", "910B2"))


def test_experts_in_every_other_way_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CordeeError, match=r"line 5: --moe-layer-freq .*config.json as MODEL"):
        read(tmp_path / "mixture.sh", MIXTURE.replace("[0]*1+[1]*26", "[0,1]*13"))


def test_without_a_model_and_a_script_nothing_is_planned() -> None:
    assert "or --script" in refused("--chip", "910B2", "--chips", "8")
