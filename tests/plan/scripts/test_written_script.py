"""`cordee plan train --write-script`: what was found, as a script that says the same when it is read."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cordee.cli import cli
from cordee.core.errors import CordeeError
from cordee.plan.model import named
from cordee.plan.scripts.megatron import asked

ASCEND = """export HCCL_CONNECT_TIMEOUT=3600
export RUN=first
source /opt/ascend/set_env.sh
torchrun --nproc_per_node 8 --nnodes 2 --node_rank 0 --log_dir logs pretrain_gpt.py \\
  --spec mindspeed_llm.tasks.models.spec.qwen3_spec layer_spec --use-mcore-models \\
  --num-layers 64 --hidden-size 5120 --ffn-hidden-size 25600 --num-attention-heads 64 \\
  --group-query-attention --num-query-groups 8 --kv-channels 128 --qk-layernorm --swiglu \\
  --normalization RMSNorm --disable-bias-linear --untie-embeddings-and-output-weights \\
  --padded-vocab-size 151936 --make-vocab-size-divisible-by 1 --use-fused-rmsnorm \\
  --tokenizer-type PretrainedFromHF --tokenizer-name-or-path "$TOKENIZER" --transformer-impl local \\
  --micro-batch-size 1 --global-batch-size 64 --seq-length 4096 --bf16 --use-ascend-coc \\
  --use-distributed-optimizer --sequence-parallel --tensor-model-parallel-size 8 \\
  --pipeline-model-parallel-size 2 --lr 1.25e-6 --data-path 0.5 "$DATA/a" 0.5 "$DATA/b" \\
  --swap-optimizer --log-npu-power | tee train.log
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "ascend.sh"
    path.write_text(ASCEND)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", "train", *arguments], env={"COLUMNS": "200"})


def wrote(file: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    done = run(*arguments, "--write-script", str(file), "--json")
    assert done.exit_code == 0, done.output
    subprocess.run(["bash", "-n", str(file)], check=True, timeout=60)
    return file.read_text(), json.loads(done.output)


def as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("chip", ["910B2", "H100"])
@pytest.mark.parametrize(
    "name", ["Qwen3-32B", "Qwen2.5-72B", "Mixtral-8x7B", "DeepSeek-V3", "GPT-2"]
)
def test_a_model_is_written_as_options_that_mean_it(tmp_path: Path, name: str, chip: str) -> None:
    file = tmp_path / "new.sh"
    _, said = wrote(file, name, "--chip", chip, "--chips", "512", "--top", "500")
    job = asked(file).job
    assert job.model.parameters == named(name).parameters
    layouts = [plan["layout"] for plan in said["chips"][0]["plans"]]
    (same,) = [
        number
        for number, layout in enumerate(layouts)
        if all(
            layout[part] == as_json(getattr(job.layout, part))
            for part in layout
            if part not in ("data", "zero")
        )
        and layout["zero"] == 1
    ]
    reason = [line for line in said["written"] if "slower" in line]
    assert bool(reason) == (same > 0), "where it is not the best, that is said"
    assert asked(file).remarks == ()


def test_what_is_opened_is_asked_for_when_the_script_runs(tmp_path: Path) -> None:
    file = tmp_path / "new.sh"
    wrote(file, "Qwen3-32B", "--chip", "910B2", "--chips", "16")
    done = subprocess.run(
        ["bash", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "TOKENIZER: a folder with the tokenizer" in done.stderr


def test_a_script_for_ascend_keeps_its_other_options_there(given: Path) -> None:
    text, said = wrote(given.with_name("new.sh"), "--script", str(given), "--chip", "910B3")
    for kept in (
        "--lr 1.25e-6", '--tokenizer-name-or-path "$TOKENIZER"', '0.5 "$DATA/a" 0.5 "$DATA/b"',
        "--use-fused-rmsnorm", "--swap-optimizer", "--log_dir logs", "export RUN=first",
        "export HCCL_CONNECT_TIMEOUT=3600", "--use-ascend-coc",
    ):  # fmt: skip
        assert kept in text
    assert text.count("--tensor-model-parallel-size") == 1
    notes = "\n".join(said["written"])
    assert "not carried over from line 3: source /opt/ascend/set_env.sh" in notes
    assert "tee" not in notes
    assert "though not understood: does it go with this layout? --log-npu-power" in notes


def test_a_script_for_ascend_becomes_one_for_nvidia(given: Path) -> None:
    text, said = wrote(given.with_name("new.sh"), "--script", str(given), "--chip", "H100")
    assert '--tokenizer-type HuggingFaceTokenizer \\\n    --tokenizer-model "$TOKENIZER"' in text
    assert "--transformer-impl transformer_engine" in text
    assert "--tp-comm-overlap" in text
    for gone in ("HCCL_", "mindspeed_llm", "--use-fused-rmsnorm", "--use-ascend"):
        assert gone not in text
    notes = "\n".join(said["written"])
    assert "Megatron-LM does not know it: --use-fused-rmsnorm" in notes
    assert "kept as it is; does Megatron-LM know it? --log-npu-power" in notes
    assert "--optimizer-cpu-offload" in text


def test_there_and_back_the_step_is_the_same(given: Path) -> None:
    there, back = given.with_name("there.sh"), given.with_name("back.sh")
    wrote(there, "--script", str(given), "--chip", "H100")
    text, _ = wrote(back, "--script", str(there), "--chip", "910B3")
    first, last = asked(given).job, asked(back).job
    assert last.model.parameters == first.model.parameters
    assert (last.sequence, last.batch, last.program) == (first.sequence, first.batch, first.program)
    assert '--tokenizer-name-or-path "$TOKENIZER"' in text
    assert "--use-flash-attn" in text


def test_a_model_that_options_cannot_say_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "new.sh"
    file.write_text("mine\n")
    done = run("Gemma-2-27B", "--chip", "910B2", "--chips", "64", "--write-script", str(file))
    assert isinstance(done.exception, CordeeError)
    assert "cannot be said in options" in str(done.exception)
    assert file.read_text() == "mine\n"


def test_pairs_of_passes_are_written_with_what_goes_with_them(tmp_path: Path) -> None:
    file = tmp_path / "new.sh"
    asks = ("DeepSeek-V3", "--chip", "910C", "--chips", "512")
    text, _ = wrote(file, *asks, "--schedule", "dualpipev")
    for option in (
        "--schedules-method dualpipev", "--dualpipev-dw-detach", "--moe-fb-overlap",
        "--moe-grouped-gemm", "--moe-token-dispatcher-type alltoall",
    ):  # fmt: skip
        assert option in text
    # github.com/Ascend/MindSpeed 028de58 dualpipev_feature.py: these do not go together.
    assert "--overlap-grad-reduce" not in text
    assert "--num-layers-per-virtual-pipeline-stage" not in text
    layout = asked(file).job.layout
    assert layout.schedule == "dualpipev"
    assert (layout.context, layout.chunks) == (1, 1)


def test_turns_that_a_framework_does_not_take_are_not_written(tmp_path: Path) -> None:
    file = tmp_path / "new.sh"
    asks = ("Qwen3-32B", "--chip", "H100", "--chips", "64", "--schedule", "zb-v")
    done = run(*asks, "--write-script", str(file))
    assert isinstance(done.exception, CordeeError)
    assert "takes turns by zb-v, which megatron-lm does not" in str(done.exception)
    assert not file.exists()


@pytest.mark.parametrize(
    ("chip", "option"),
    [("H100", "--overlap-moe-expert-parallel-comm"), ("910C", "--moe-fb-overlap")],
)
def test_what_hides_the_way_to_experts_is_written_and_read(
    tmp_path: Path, chip: str, option: str
) -> None:
    file = tmp_path / "new.sh"
    asks = ("Qwen3-30B-A3B", "--chip", chip, "--chips", "64", "--schedule", "1f1b")
    text, _ = wrote(file, *asks)
    assert option in text
    assert asked(file).job.program.overlaps_experts
    # github.com/Ascend/MindSpeed 028de58 fb_overlap.py: these do not go together.
    assert chip == "H100" or "--overlap-grad-reduce" not in text
