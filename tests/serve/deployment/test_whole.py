"""What model, chip, variables and options mean together, and what the terminal shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.deployment.asking import asked, judged

MODEL = "Qwen/Qwen3-8B"


def folder(path: Path, **config: object) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_a_command_that_works_as_it_is_ends_with_0() -> None:
    answer = asked(f"vllm serve {MODEL} -tp 2 --max-model-len 32k")
    assert answer.code == 0
    assert "0 to decide, 0 changed" in answer.text


def test_what_must_be_decided_comes_first_and_the_new_command_last() -> None:
    answer = asked(f"CUDA_VISIBLE_DEVICES=0 vllm serve {MODEL} --quantization awq")
    places = [answer.text.index(t) for t in ("To decide", "Changed", "Works as it is", "export")]
    assert places == sorted(places)
    assert answer.text.rstrip().endswith(f"vllm serve {MODEL}")
    assert answer.code == 1


def test_text_fits_80_columns() -> None:
    answer = asked("--all", f"NCCL_DEBUG=INFO vllm serve {MODEL} --quantization awq --swap-space 4")
    prose = [
        line for line in answer.text.splitlines() if "//" not in line and "github.com" not in line
    ]
    assert max(map(len, prose)) <= 80


def test_all_tells_why_the_rest_works_and_where_that_is_written() -> None:
    answer = asked("--all", f"vllm serve {MODEL} --enable-sleep-mode")
    assert "sleep_mode.md" in answer.text


def test_words_after_two_dashes_are_the_command() -> None:
    answer = asked("--json", "--", "vllm", "serve", MODEL, "--hf-overrides", '{"a": 1}')
    assert answer.reports[0]["command"][-1] == '{"a": 1}'


@pytest.mark.parametrize(
    ("set_", "verdict", "after"),
    [
        ("CUDA_VISIBLE_DEVICES=0,1", "otherwise", {"ASCEND_RT_VISIBLE_DEVICES": "0,1"}),
        ("NCCL_SOCKET_IFNAME=eth0", "otherwise", {"HCCL_SOCKET_IFNAME": "eth0"}),
        ("NCCL_BUFFSIZE=268435456", "otherwise", {"HCCL_BUFFSIZE": "256"}),
        ("NCCL_IB_TIMEOUT=20", "otherwise", {"HCCL_RDMA_TIMEOUT": "20"}),
        ("NCCL_IB_HCA=mlx5", "otherwise", {}),
        ("NCCL_P2P_DISABLE=1", "meaningless", {}),
        ("VLLM_USE_V1=1", "meaningless", {}),
        ("VLLM_USE_V1=0", "absent", {}),
        ("VLLM_ATTENTION_BACKEND=FLASHINFER", "meaningless", {}),
        ("VLLM_USE_MODELSCOPE=true", "works", {"VLLM_USE_MODELSCOPE": "true"}),
        ("VLLM_KV_CACHE_LAYOUT=HND", "unchecked", {"VLLM_KV_CACHE_LAYOUT": "HND"}),
        ("VLLM_NO_SUCH=1", "unknown", {"VLLM_NO_SUCH": "1"}),
        ("HF_TOKEN=x", "works", {"HF_TOKEN": "x"}),
        ("MY_OWN=x", "works", {"MY_OWN": "x"}),
        (
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            "otherwise",
            {"PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True"},
        ),
    ],
)
def test_variables(set_: str, verdict: str, after: dict[str, str]) -> None:
    answer = judged(f"{set_} vllm serve {MODEL}")
    assert answer.verdict(set_.partition("=")[0]) == verdict
    assert answer.reports[0]["environment"] == after


def test_blocking_launches_go_only_without_graphs() -> None:
    graphs = judged(f"CUDA_LAUNCH_BLOCKING=1 vllm serve {MODEL}")
    eager = judged(f"CUDA_LAUNCH_BLOCKING=1 vllm serve {MODEL} --enforce-eager")
    assert graphs.reports[0]["environment"] == {}
    assert eager.reports[0]["environment"] == {"ASCEND_LAUNCH_BLOCKING": "1"}


def test_sleep_mode_takes_expandable_segments_away() -> None:
    setting = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
    answer = judged(f"{setting} vllm serve {MODEL} --enable-sleep-mode")
    assert answer.reports[0]["environment"] == {}


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        ("--speculative-config.num_speculative_tokens 16", "16 speculative tokens"),
        ("""--speculative-config '{"method": "mtp"}' -pp 2""", "MTP over"),
        ("-dp 2 -pcp 2", "prefill context and data"),
        ("--enable-lora --enable-expert-parallel", "LoRA with"),
    ],
)
def test_what_does_not_go_together(options: str, subject: str) -> None:
    assert judged(f"vllm serve {MODEL} {options}").verdict(subject) == "absent"


def test_300i_duo_is_told_float16() -> None:
    answer = judged(f"vllm serve {MODEL}", "--chip", "Ascend310P3")
    assert answer.command.endswith("--dtype float16")
    assert judged(f"vllm serve {MODEL}").command == f"vllm serve {MODEL}"


def test_a_float16_checkpoint_is_left_alone_on_300i_duo(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", architectures=["Qwen3ForCausalLM"], torch_dtype="float16")
    answer = judged(f"vllm serve {path}", "--chip", "310P")
    assert "--dtype" not in answer.command


@pytest.mark.parametrize(
    ("name", "chip", "verdict"),
    [
        ("Qwen/Qwen3-8B", "Ascend910B3", "works"),
        ("Qwen/Qwen3-8B", "Ascend310P3", "works"),
        ("deepseek-ai/DeepSeek-R1", "Ascend910_9392", "works"),
        ("deepseek-ai/DeepSeek-R1", "Ascend310P3", "absent"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Ascend910B3", "works"),
        ("meta-llama/Llama-4-Scout-17B-16E", "Ascend910B3", "absent"),
        ("openai/whisper-large-v3", "Ascend910B3", "absent"),
        ("acme/unheard-of", "Ascend910B3", "unchecked"),
    ],
)
def test_models_by_their_names(name: str, chip: str, verdict: str) -> None:
    assert judged(f"vllm serve {name}", "--chip", chip).verdict(f"model {name}") == verdict


def test_a_folder_is_known_by_its_architecture(tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", architectures=["Qwen3MoeForCausalLM"])
    assert judged(f"vllm serve {path}").verdict(f"model {path}") == "works"


def test_the_format_of_the_weights_is_read_from_the_folder(tmp_path: Path) -> None:
    config = {"quant_method": "gptq"}
    path = folder(tmp_path / "mine", architectures=["Qwen3ForCausalLM"], quantization_config=config)
    finding = judged(f"vllm serve {path}").finding("weights in gptq")
    assert finding["verdict"] == "absent"
    assert "ModelSlim" in finding["instead"]


def test_weights_of_modelslim_are_recognised(tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", architectures=["Qwen3ForCausalLM"])
    (path / "quant_model_description.json").write_text("{}")
    assert judged(f"vllm serve {path}").verdict("weights in ascend") == "works"


def test_attention_with_latents_is_refused_on_300i_duo(tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", architectures=["XForCausalLM"], kv_lora_rank=512)
    answer = judged(f"vllm serve {path}", "--chip", "310P")
    assert answer.verdict("attention with latents") == "absent"


@pytest.mark.parametrize("config", ["{", "[]", "\x00"])
def test_a_broken_configuration_is_said(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    assert judged(f"vllm serve {tmp_path}").verdict("model") == "unchecked"


def test_sglang_is_put_in_vllms_words() -> None:
    command = (
        "python3 -m sglang.launch_server --model-path Qwen/Qwen3-8B --tp 2 --disable-radix-cache "
        "--context-length 8192 --attention-backend fa3 --ep-size 2 --no-such-thing"
    )
    answer = judged(command)
    assert answer.command == (
        "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --no-enable-prefix-caching "
        "--max-model-len 8192 --enable-expert-parallel"
    )
    assert answer.verdict("SGLang's --no-such-thing") == "unknown"
    assert answer.code == 1


def test_trtllm_serve_is_put_in_vllms_words() -> None:
    answer = judged("mpirun -n 2 trtllm-serve serve Qwen/Qwen3-8B --tp_size 2 --max_batch_size 8")
    assert answer.command == "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --max-num-seqs 8"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls -l"], "no `vllm serve`"),
        (["vllm bench serve --model x"], "no `vllm serve`"),
        (["vllm serve 'x"], "line 1: a ' is opened and not closed"),
        ([], "give either a command, or --file"),
        (["--file", "/no/such/file"], "/no/such/file: No such file"),
        (["--chip", "H100", "vllm serve x"], "H100: no such chip"),
        (["--vllm", "0.1", "vllm serve x"], "--vllm 0.1: no release"),
        (["--vllm", "new", "vllm serve x"], "--vllm new: this is no version"),
        (["--output", "/no/such/folder/f", "vllm serve x"], "/no/such/folder/f: No such file"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_2(arguments: list[str], said: str) -> None:
    answer = asked(*arguments)
    assert answer.code == 2
    assert said in answer.text.splitlines()[-1]


def test_the_command_runs_without_torch_and_numpy_and_ends_with_its_code(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['cordee', 'serve', 'check-args', 'vllm serve x/y -tp 2 --nope']\n"
        "from cordee.cli import main\n"
        "try:\n    main()\nfinally:\n    assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == ""
    assert "--nope" in done.stdout


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("deepseek-ai/DeepSeek-V3.1", "absent"),
        ("openai/gpt-oss-120b", "absent"),
        ("Qwen/Qwen3-8B-AWQ", "absent"),
        ("vllm-ascend/DeepSeek-R1-W8A8", "works"),
    ],
)
def test_weights_are_known_by_the_name_where_no_folder_is(name: str, verdict: str) -> None:
    assert judged(f"vllm serve {name}").verdict("weights in") == verdict


def test_weights_in_bf16_need_no_word() -> None:
    answer = judged("vllm serve unsloth/gpt-oss-120b-BF16")
    assert not [f for f in answer.reports[0]["findings"] if f["subject"].startswith("weights")]


def test_a_variable_of_another_version_of_vllm_is_left_out() -> None:
    answer = judged(
        f"VLLM_PREFIX_CACHE_RETENTION_INTERVAL=1 VLLM_USE_FASTOKENS=1 vllm serve {MODEL}"
    )
    assert answer.reports[0]["environment"].keys() == {
        "VLLM_PREFIX_CACHE_RETENTION_INTERVAL",
        "VLLM_USE_FASTOKENS",
    }
    older = judged(f"VLLM_USE_FASTOKENS=1 vllm serve {MODEL}", "--vllm", "0.11.0")
    assert older.verdict("VLLM_USE_FASTOKENS") == "meaningless"
    assert older.reports[0]["environment"] == {}


def test_a_value_that_hccl_does_not_take_is_yours_to_choose() -> None:
    assert judged(f"NCCL_IB_TIMEOUT=23 vllm serve {MODEL}").finding("NCCL_IB_TIMEOUT")["decide"]
