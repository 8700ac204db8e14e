"""Launch scripts say some things in ways of their own: what examples of Megatron-LM and MindSpeed-LLM do."""

from pathlib import Path

import pytest
from tests.plan.commands import Command

from cordee.core.errors import UsageError
from cordee.plan.memory import memory
from cordee.plan.model import Experts, LinearAttention
from cordee.plan.scripts.megatron import Asked, asked
from cordee.plan.training import model_flops

DENSE = """MODEL="
    --num-layers 32 --hidden-size 4096 --ffn-hidden-size 14336 --num-attention-heads 32
    --group-query-attention --num-query-groups 8 --swiglu --disable-bias-linear
"
torchrun --nproc_per_node 8 pretrain_gpt.py $MODEL --vocab-size 128256 \\
    --seq-length 4096 --micro-batch-size 1 --global-batch-size 64 --bf16 MORE
"""
MIXED = """torchrun --nproc_per_node 16 pretrain_gpt.py --num-layers 8 --hidden-size 2048 \\
    --ffn-hidden-size 5120 --num-attention-heads 16 --kv-channels 256 --qk-layernorm \\
    --group-query-attention --num-query-groups 2 --swiglu --disable-bias-linear \\
    --num-experts 64 --moe-router-topk 4 --moe-ffn-hidden-size 512 --vocab-size 151936 \\
    --seq-length 4096 --micro-batch-size 1 --global-batch-size 64 --bf16 MORE
"""


def read(tmp_path: Path, text: str) -> Asked:
    path = tmp_path / "train.sh"
    path.write_text(text)
    return asked(path)


def test_all_items_of_a_plain_variable_are_its_value(tmp_path: Path) -> None:
    text = DENSE.replace("MORE", "${OTHERS[@]}").replace(
        "torchrun",
        'OTHERS="\n --recompute-granularity full --recompute-method uniform\n"\ntorchrun',
    )
    assert read(tmp_path, text).job.layout.recompute == "full"


@pytest.mark.parametrize("before", ["$VENV_PREFIX", '"${PROFILE[@]}"', "nsys profile -o out"])
def test_a_launcher_may_stand_behind_what_runs_it(tmp_path: Path, before: str) -> None:
    text = DENSE.replace("torchrun", f"{before} python -m torch.distributed.run")
    assert read(tmp_path, text.replace("MORE", "")).job.layout.chips == 8


@pytest.mark.parametrize(
    ("options", "zero"),
    [
        ("--use-distributed-optimizer", 1),
        ("--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads_params", 3),
        ("--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads", 2),
        ("--use-torch-fsdp2", 3),
        ("", 0),
    ],
)
def test_what_is_shared_out_is_read(tmp_path: Path, options: str, zero: int) -> None:
    assert read(tmp_path, DENSE.replace("MORE", options)).job.layout.zero == zero


def test_gradients_are_summed_up_in_16_bits_where_the_script_says_so(tmp_path: Path) -> None:
    found = read(tmp_path, DENSE.replace("MORE", "--grad-reduce-in-bf16"))
    assert found.job.program.gradient_bytes == 2


@pytest.mark.parametrize(
    "options", ["--first-k-dense-replace -1 --moe-layer-freq 1", "--moe-layer-freq -1"]
)
def test_less_than_none_means_that_all_layers_have_experts(tmp_path: Path, options: str) -> None:
    layers = read(tmp_path, MIXED.replace("MORE", options)).job.model.layers
    assert all(isinstance(layer.mlp, Experts) for layer in layers)


def test_linear_attention_is_read(tmp_path: Path) -> None:
    options = (
        "--full-attention-interval 4 --linear-key-head-dim 128 --linear-num-key-heads 16 "
        "--linear-num-value-heads 32 --linear-value-head-dim 128 --mamba-d-conv 4"
    )
    layers = read(tmp_path, MIXED.replace("MORE", options)).job.model.layers
    linear = [isinstance(layer.attention, LinearAttention) for layer in layers]
    assert linear == [True, True, True, False] * 2


def test_a_tokenizer_that_says_how_many_words_it_has_is_believed_and_that_is_said(
    tmp_path: Path,
) -> None:
    text = DENSE.replace("--vocab-size 128256", "--tokenizer-type GPT2BPETokenizer")
    found = read(tmp_path, text.replace("MORE", ""))
    assert found.job.model.vocabulary == 50257
    assert any("taken to have 50,257 words" in remark for remark in found.remarks)


def test_layers_that_are_reckoned_again_count_in_each_chunk(tmp_path: Path) -> None:
    options = (
        "--recompute-granularity full --recompute-method block --recompute-num-layers 4 "
        "--pipeline-model-parallel-size 4 --num-layers-per-virtual-pipeline-stage 4"
    )
    layout = read(tmp_path, DENSE.replace("MORE", options)).job.layout
    assert (layout.chunks, layout.recompute_layers) == (2, 8)


def test_layers_that_do_nothing_count_among_those_of_a_chunk(tmp_path: Path) -> None:
    options = (
        "--noop-layers 24,25,26,27,28,29,30,31 --pipeline-model-parallel-size 4 "
        "--num-layers-per-virtual-pipeline-stage 2"
    )
    job = read(tmp_path, DENSE.replace("MORE", options)).job
    assert (len(job.model.layers), job.layout.chunks) == (24, 4)


def test_small_matrices_beside_the_weights_are_all_that_is_trained(tmp_path: Path) -> None:
    whole = read(tmp_path, DENSE.replace("MORE", "")).job
    small = read(tmp_path, DENSE.replace("MORE", "--lora-r 8 --lora-alpha 16")).job
    assert not small.program.trains_all
    assert memory(small).total < 0.4 * memory(whole).total
    assert model_flops(small) == pytest.approx(model_flops(whole) * 2 / 3)


def test_linear_attention_is_written_and_read_back(tmp_path: Path) -> None:
    options = (
        "--full-attention-interval 4 --linear-key-head-dim 128 --linear-num-key-heads 16 "
        "--linear-num-value-heads 32 --linear-value-head-dim 128 --mamba-d-conv 4 "
        "--noop-layers 7 --tokenizer-type PretrainedFromHF --lora-r 8"
    )
    script, target = tmp_path / "train.sh", tmp_path / "written.sh"
    script.write_text(MIXED.replace("MORE", options))
    done = Command("train").run(
        "--script", str(script), "--chip", "910B3", "--write-script", str(target)
    )
    assert done.exit_code == 0, done.output
    assert asked(target).job.model.layers == asked(script).job.model.layers
    assert "--lora-r 8" in target.read_text()


TEXT = DENSE.replace("torchrun --nproc_per_node 8", "python -u").replace("MORE", "--swap-optimizer")


@pytest.mark.parametrize(
    ("quote", "shell", "srun", "chips"),
    [
        ('"', "bash -c", "srun --nodes=4 --ntasks-per-node 8", 32),
        ("'", "bash -lc", "srun -l -n 16", 16),
        ("'", "/bin/sh -ec", "srun -N 2 --ntasks-per-node=4", 8),
    ],
)
def test_what_a_shell_is_given_as_text_is_read(
    tmp_path: Path, quote: str, shell: str, srun: str, chips: int
) -> None:
    given, _, command = TEXT.partition("python")
    given = " ".join(given.split()) + "\n"
    text = f"{given}{srun} {shell} {quote}\ncd /work; export A=1\npython{command}{quote}\n"
    found = read(tmp_path, text)
    assert (found.job.layout.chips, len(found.job.model.layers)) == (chips, 32)
    assert found.job.program.optimizer_on_host == 1


def test_a_launcher_in_a_shells_text_says_how_many_it_starts(tmp_path: Path) -> None:
    given, _, command = DENSE.replace("MORE", "").partition("torchrun")
    given = " ".join(given.split()) + "\n"
    text = f"{given}srun --ntasks=2 bash -c 'torchrun --nnodes 2{command}'\n"
    assert read(tmp_path, text).job.layout.chips == 16


def test_a_number_that_is_to_be_filled_in_is_asked_for(tmp_path: Path) -> None:
    text = DENSE.replace("--seq-length 4096", "--seq-length <LENGTH>").replace("MORE", "")
    with pytest.raises(UsageError, match="line 6: --seq-length <LENGTH> is to be filled in"):
        read(tmp_path, text)
