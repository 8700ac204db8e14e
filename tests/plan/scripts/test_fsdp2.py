"""Scripts of MindSpeed-LLM's fsdp2, whose options stand in a YAML file."""

from pathlib import Path

import pytest
from tests.plan.commands import Command

from cordee.core.errors import UsageError
from cordee.plan.model import named
from cordee.plan.scripts.megatron import Asked, asked

YAML = """model:
  model_id: qwen3_moe
data:
  cutoff_len: 4096
parallel:
  fsdp_modules:
    - model.layers.{*}
  ep_size: 4
  ep_dispatcher: mc2
  recompute: True
  recompute_modules:
    - model.layers.{*}
training:
  per_device_train_batch_size: 2
"""
SCRIPT = """NNODES=2
torchrun --nproc_per_node 16 --nnodes $NNODES train_fsdp2.py examples/fsdp2/qwen3/train.yaml \\
    --model.model_name_or_path /home/hf_weights/Qwen3-30B-A3B/ --parallel.fsdp_size 16 \\
    --parallel.ep_size 8 --training.gradient_accumulation_steps 4 | tee log
"""


def read(tmp_path: Path, text: str = SCRIPT, options: str = YAML) -> Asked:
    path = tmp_path / "train.sh"
    path.write_text(text)
    (tmp_path / "train.yaml").write_text(options)
    return asked(path)


def test_options_of_the_file_and_of_the_command_are_read(tmp_path: Path) -> None:
    found = read(tmp_path)
    layout = found.job.layout
    assert found.job.model == named("Qwen3-30B-A3B")
    assert (layout.chips, layout.expert, layout.zero, layout.shard_chips) == (32, 8, 3, 16)
    assert (layout.micro_batch, layout.recompute) == (2, "full")
    assert (found.job.sequence, found.job.batch) == (4096, 32 * 2 * 4)
    assert any("ep_dispatcher mc2: not understood" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            SCRIPT.replace("train.yaml", "other.yaml"),
            YAML,
            "other.yaml, which has its options, is neither",
        ),
        (SCRIPT, YAML.replace("4096", "long"), "data.cutoff_len long: a whole number"),
        (SCRIPT, YAML.replace("  cutoff_len: 4096\n", "  a: b\n"), "data.cutoff_len is missing"),
        (
            SCRIPT.replace("Qwen3-30B-A3B", "ours"),
            YAML,
            "/home/hf_weights/ours/: its sizes are not known",
        ),
        (SCRIPT, "a: [", "train.yaml: it cannot be read"),
        (SCRIPT, "- a", "sections such as `parallel:` are needed"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, text: str, options: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        read(tmp_path, text, options)


def test_its_own_layout_stands_beside_the_best(tmp_path: Path) -> None:
    read(tmp_path)
    script, target = tmp_path / "train.sh", tmp_path / "new.sh"
    words = ("--script", str(script), "--chip", "910B3", "--write-script", str(target))
    found = Command("train").planned(*words)
    (own,) = found["script"]["as_it_is"]
    assert "ZeRO3" in own["layout"]
    assert any("options of fsdp2 are not carried over" in note for note in found["written"])
