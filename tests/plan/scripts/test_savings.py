"""What launch scripts do so that a chip needs less memory is read, counted and written."""

from pathlib import Path

import pytest
from tests.plan.commands import Command

from cordee.core.errors import UsageError
from cordee.plan.memory import memory
from cordee.plan.scripts.megatron import Asked, asked

LATENT = """torchrun --nproc_per_node 16 --nnodes 2 pretrain_gpt.py \\
  --num-layers 27 --hidden-size 2048 --ffn-hidden-size 10944 --num-attention-heads 16 \\
  --multi-latent-attention --kv-lora-rank 512 --qk-head-dim 128 --qk-pos-emb-head-dim 64 \\
  --v-head-dim 128 --num-experts 64 --moe-router-topk 6 --moe-ffn-hidden-size 1408 \\
  --moe-shared-expert-intermediate-size 2816 --moe-layer-freq '([0]*1+[1]*26)' \\
  --untie-embeddings-and-output-weights --swiglu --disable-bias-linear --vocab-size 102400 \\
  --seq-length 4096 --micro-batch-size 1 --global-batch-size 128 --bf16 --use-distributed-optimizer \\
  --pipeline-model-parallel-size 2 --expert-model-parallel-size 8 --expert-tensor-parallel-size 1 MORE
"""
SELECTIVE = "--recompute-granularity selective"


def read(tmp_path: Path, more: str) -> Asked:
    path = tmp_path / "train.sh"
    path.write_text(LATENT.replace("MORE", more))
    return asked(path)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (f"{SELECTIVE} --recompute-modules mla_up_proj moe_act", ("mla_up_proj", "moe_act")),
        (f"{SELECTIVE} --recompute-modules core_attn", ("core_attn",)),
        (SELECTIVE, ("core_attn",)),
        ("--recompute-activations", ("core_attn",)),
        ("--moe-layer-recompute", ("moe",)),
        ("--recompute-modules moe_act", ()),
        ("--recompute-activation-function --recompute-norm", ("mlp_act", "layernorm")),
        ("--recompute-mla-up-proj", ("mla_up_proj",)),
        ("--moe-zero-memory level0 --moe-fb-overlap", ("moe_act", "moe_tokens")),
    ],
)
def test_parts_that_are_reckoned_again_are_read(
    tmp_path: Path, options: str, parts: tuple[str, ...]
) -> None:
    assert read(tmp_path, options).job.layout.recompute_parts == parts


def test_an_unknown_part_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 8: .* moe_acts: .*did you mean moe_act\?"):
        read(tmp_path, f"{SELECTIVE} --recompute-modules moe_acts")


def test_a_part_of_layers_that_are_not_reckoned_is_left_out_and_named(tmp_path: Path) -> None:
    found = read(tmp_path, f"{SELECTIVE} --recompute-modules moe_act gdn_norm_out")
    assert found.job.layout.recompute_parts == ("moe_act",)
    assert any("gdn_norm_out: left out" in remark for remark in found.remarks)


def test_attention_that_a_fused_kernel_does_again_for_nothing_is_said(tmp_path: Path) -> None:
    assert any("keeps no scores" in remark for remark in read(tmp_path, SELECTIVE).remarks)


def test_layers_reckoned_again_may_be_those_of_a_whole_stage(tmp_path: Path) -> None:
    options = (
        "--recompute-granularity full --recompute-method block --recompute-num-layers 3 "
        "--num-layers-per-virtual-pipeline-stage 7"
    )
    each = read(tmp_path, options).job.layout
    whole = read(tmp_path, f"{options} --enable-recompute-layers-per-pp-rank").job.layout
    assert (each.recompute_layers, whole.recompute_layers) == (6, 3)


@pytest.mark.parametrize(
    ("options", "bytes_each"),
    [
        ("", 12),
        ("--reuse-fp32-param", 10),
        ("--swap-optimizer", 0),
        ("--quant-states fp8", 6),
        ("--use-precision-aware-optimizer", 10),
        ("--use-precision-aware-optimizer --exp-avg-dtype bf16 --exp-avg-sq-dtype bf16", 6),
        ("--exp-avg-dtype bf16", 12),
        (
            "--use-precision-aware-optimizer --optimizer-cpu-offload --optimizer-offload-fraction 0.5",
            5,
        ),
    ],
)
def test_states_of_the_optimizer_are_counted_as_the_script_keeps_them(
    tmp_path: Path, options: str, bytes_each: float
) -> None:
    plain, found = (memory(read(tmp_path, more).job).optimizer for more in ("", options))
    assert found == pytest.approx(plain * bytes_each / 12)


@pytest.mark.parametrize(
    "options",
    ["--use-precision-aware-optimizer --main-grads-dtype bf16", "--quant-grads"],
)
def test_gradients_in_16_bits_are_counted_so(tmp_path: Path, options: str) -> None:
    assert read(tmp_path, options).job.program.gradient_bytes == 2
    assert read(tmp_path, "--main-grads-dtype bf16").job.program.gradient_bytes == 4


def test_weights_in_8_bits_alone_take_less_than_beside_those_in_16(tmp_path: Path) -> None:
    plain, narrow, alone = (
        memory(read(tmp_path, more).job).weights
        for more in ("", "--fp8-format hybrid", "--fp8-format hybrid --fp8-param-gather")
    )
    assert plain < narrow < 2.1 * plain
    assert alone == pytest.approx(plain)


def test_states_on_the_host_are_said_to_travel_unreckoned(tmp_path: Path) -> None:
    remarks = read(tmp_path, "--swap-optimizer").remarks
    assert any("--swap-optimizer: states are in the memory of hosts" in one for one in remarks)
    assert not any("not understood" in one for one in remarks)


@pytest.mark.parametrize(
    ("chip", "options"),
    [
        ("H100", f"{SELECTIVE} --recompute-modules moe_act layernorm mla_up_proj"),
        ("910B3", "--recompute-norm --recompute-activation-function"),
        ("H100", "--use-precision-aware-optimizer --exp-avg-dtype bf16 --exp-avg-sq-dtype bf16"),
        ("910B3", "--swap-optimizer"),
        ("910B3", "--reuse-fp32-param"),
    ],
)
def test_what_is_saved_is_written_and_read_back(tmp_path: Path, chip: str, options: str) -> None:
    script, target = tmp_path / "train.sh", tmp_path / "written.sh"
    script.write_text(LATENT.replace("MORE", options))
    parts = asked(script).job.layout.recompute_parts
    again = ("--recompute", ",".join(parts)) if parts else ()
    done = Command("train").run(
        *("--script", str(script), "--chip", chip, "--write-script", str(target), *again)
    )
    assert done.exit_code == 0, done.output
    found, before = asked(target).job, asked(script).job
    assert not parts or found.layout.recompute_parts == parts
    assert found.program.state_bytes == before.program.state_bytes
    assert found.program.optimizer_on_host == before.program.optimizer_on_host


def test_moments_that_ascend_has_no_option_for_are_named(tmp_path: Path) -> None:
    script, target = tmp_path / "train.sh", tmp_path / "written.sh"
    options = "--use-precision-aware-optimizer --exp-avg-dtype bf16 --exp-avg-sq-dtype bf16"
    script.write_text(LATENT.replace("MORE", options))
    done = Command("train").run(
        "--script", str(script), "--chip", "910B3", "--write-script", str(target)
    )
    assert "no option of MindSpeed-LLM is known here for moments of 2 bytes" in " ".join(
        done.output.split()
    )
