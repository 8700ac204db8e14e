"""Each flag, value and key gets the verdict that vllm-ascend gives it, and the words that stand for it."""

import json
from pathlib import Path

import pytest
from tests.serve.deployment.asking import asked, judged

MODEL = "Qwen/Qwen3-8B"


@pytest.mark.parametrize(
    ("option", "verdict"),
    [
        ("-tp 4", "works"),
        ("--tensor-parallel-size=4", "works"),
        ("--tensor_parallel_size 4", "works"),
        ("--enable-prefix-caching", "works"),
        ("--no-enable-prefix-caching", "works"),
        ("--dtype bfloat16", "works"),
        ("--api-key a b", "works"),
        ("--enforce-eager", "works"),
        ("--quantization ascend", "works"),
        ("--quantization awq", "absent"),
        ("-q gptq_marlin", "absent"),
        ("--quantization compressed-tensors", "works"),
        ("--quantization fp8", "absent"),
        ("--kv-cache-dtype auto", "works"),
        ("--kv-cache-dtype fp8_e4m3", "absent"),
        ("--attention-backend FLASHINFER", "meaningless"),
        ("--disable-custom-all-reduce", "meaningless"),
        ("--all2all-backend deepep_low_latency", "meaningless"),
        ("--enable-eplb", "absent"),
        ("--enable-dbo", "meaningless"),
        ("--block-size 16", "otherwise"),
        ("--block-size 128", "works"),
        ("--numa-bind", "otherwise"),
        ("--load-format gguf", "absent"),
        ("--moe-backend triton", "otherwise"),
        ("--moe-backend deep-gemm", "otherwise"),
        ("--moe-backend nonsense", "unknown"),
        ("--enable-sleep-mode", "works"),
        ("--enable-lora", "works"),
        ("--cpu-offload-gb 4", "unchecked"),
        ("--dtype int7", "unknown"),
        ("--port", "unknown"),
    ],
)
def test_a_flag_is_judged(option: str, verdict: str) -> None:
    answer = judged(f"vllm serve {MODEL} {option}")
    finding = next(f for f in answer.reports[0]["findings"] if f["subject"].startswith("-"))
    assert finding["verdict"] == verdict, finding


@pytest.mark.parametrize(
    ("chip", "option", "verdict"),
    [
        ("Ascend910B3", "--dtype bfloat16", "works"),
        ("Ascend910_9392", "--dtype bfloat16", "works"),
        ("Ascend310P3", "--dtype bfloat16", "otherwise"),
        ("Ascend910_9392", "--enable-expert-parallel", "works"),
        ("Ascend310P3", "--enable-expert-parallel", "absent"),
        ("Ascend310P3", "--enable-lora", "absent"),
        ("Ascend310P3", "--quantization compressed-tensors", "absent"),
        ("Ascend310P3", "--quantization ascend", "works"),
        ("Ascend310P3", "--pipeline-parallel-size 2", "unchecked"),
        ("Ascend310P3", "--pipeline-parallel-size 1", "works"),
        (
            "Ascend310P3",
            '--kv-transfer-config \'{"kv_connector": "MooncakeConnectorV1"}\'',
            "absent",
        ),
    ],
)
def test_the_chip_decides(chip: str, option: str, verdict: str) -> None:
    answer = judged(f"vllm serve {MODEL} {option}", "--chip", chip)
    assert answer.verdict(option.split()[0]) == verdict


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--num-scheduler-steps 8", ""),
        ("--device cuda", ""),
        ("--swap-space 4", ""),
        ("--guided-decoding-backend xgrammar", "--structured-outputs-config.backend xgrammar"),
        ("--task embed", "--runner pooling"),
        ("--worker-use-ray", "--distributed-executor-backend ray"),
        ("--speculative-model d", "--speculative-config.model d"),
        ("--num-speculative-tokens 5", "--speculative-config.num_speculative_tokens 5"),
        ("--speculative-model [ngram]", "--speculative-config.method ngram"),
        ("--disable-mm-preprocessor-cache", "--mm-processor-cache-gb 0"),
        ("--device-memory-utilization 0.8", "--gpu-memory-utilization 0.8"),
        ("-O.level=3", "--compilation-config.mode 3"),
    ],
)
def test_what_vllm_renamed_is_written_in_its_present_words(old: str, new: str) -> None:
    answer = judged(f"vllm serve {MODEL} {old}")
    assert answer.command == f"vllm serve {MODEL} {new}".strip()
    assert answer.code == 0


def test_a_flag_newer_than_the_release_is_left_out_and_said() -> None:
    answer = judged(f"vllm serve {MODEL} --max-num-queued-reqs 4")
    finding = answer.finding("--max-num-queued-reqs")
    assert finding["verdict"] == "absent"
    assert "0.30.0" in finding["says"]
    assert "--max-num-queued-reqs" not in answer.command


def test_another_version_of_vllm_has_other_flags() -> None:
    option = "--guided-decoding-disable-any-whitespace"
    assert judged(f"vllm serve {MODEL} --enable-eplb").reports[0]["vllm"] == "0.23.0"
    older = judged(f"vllm serve {MODEL} --task generate", "--vllm", "0.11.0")
    assert older.reports[0]["vllm_ascend"] == "0.11.0"
    assert "--task generate" in older.command
    assert option not in judged(f"vllm serve {MODEL} {option}").command


def test_an_unknown_flag_stays_and_the_nearest_is_named() -> None:
    answer = judged(f"vllm serve {MODEL} --tensor-paralel-size 4")
    assert (
        answer.finding("--tensor-paralel-size")["instead"] == "did you mean --tensor-parallel-size?"
    )
    assert "--tensor-paralel-size 4" in answer.command
    assert answer.code == 1


def test_an_abbreviation_is_the_flag_that_it_begins() -> None:
    assert "--tensor-parallel-size 2" in judged(f"vllm serve {MODEL} --tensor-par 2").command


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("-O3", "--optimization-level 3"),
        ("-O=2", "--optimization-level 2"),
        ("-O 1", "--optimization-level 1"),
    ],
)
def test_levels_of_optimisation(level: str, written: str) -> None:
    assert written in judged(f"vllm serve {MODEL} {level}").command


def test_keys_of_json_are_judged_one_by_one_and_the_rest_stays() -> None:
    config = {
        "mode": 3,
        "use_inductor": True,
        "cudagraph_mode": "FULL_DECODE_ONLY",
        "cudagraph_capture_sizes": [1, 2],
        "pass_config": {"fuse_rope_kvcache": True},
    }
    answer = judged(f"vllm serve {MODEL} --compilation-config '{json.dumps(config)}'")
    assert answer.verdict("--compilation-config.use_inductor") == "meaningless"
    assert answer.verdict("--compilation-config.pass_config.fuse_rope_kvcache") == "meaningless"
    kept = json.loads(answer.reports[0]["command"][-1])
    assert kept == {
        "mode": 3,
        "cudagraph_mode": "FULL_DECODE_ONLY",
        "cudagraph_capture_sizes": [1, 2],
    }


def test_a_misspelt_key_is_found() -> None:
    answer = judged(f"""vllm serve {MODEL} --speculative-config '{{"metod": "ngram"}}'""")
    instead = answer.finding("--speculative-config.metod")["instead"]
    assert instead == "did you mean --speculative-config.method?"


def test_broken_json_is_said() -> None:
    answer = judged(f"vllm serve {MODEL} --kv-transfer-config '{{kv_role: both'")
    assert answer.verdict("--kv-transfer-config") == "unknown"


@pytest.mark.parametrize(
    ("connector", "verdict"),
    [
        ("MooncakeConnectorV1", "works"),
        ("NixlConnector", "otherwise"),
        ("LMCacheConnectorV1", "otherwise"),
        ("SomethingElse", "unchecked"),
    ],
)
def test_connectors(connector: str, verdict: str) -> None:
    config = json.dumps({"kv_connector": connector, "kv_role": "kv_both"})
    answer = judged(f"vllm serve {MODEL} --kv-transfer-config '{config}'")
    findings = {f["subject"]: f["verdict"] for f in answer.reports[0]["findings"]}
    assert findings[f"--kv-transfer-config.kv_connector {connector}"] == verdict


@pytest.mark.parametrize(
    ("method", "verdict"), [("eagle3", "works"), ("mtp", "works"), ("ngram_gpu", "absent")]
)
def test_methods_of_drafts(method: str, verdict: str) -> None:
    answer = judged(f"vllm serve {MODEL} --speculative-config.method {method}")
    assert answer.verdict("--speculative-config.method") == verdict


def test_options_of_a_configuration_file_are_judged_and_written_out(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        f"model: {MODEL}\nport: 9000\nenable-dbo: true\ntrust-remote-code: false\n"
        "served-model-name: [a, b]\n"
    )
    (tmp_path / "serve.sh").write_text("vllm serve --config c.yaml --max-model-len 4k\n")
    answer = asked("--json", "--file", str(tmp_path / "serve.sh"))
    assert answer.finding("--enable-dbo")["place"] == "in c.yaml"
    words = "--port 9000 --served-model-name a b --max-model-len 4k"
    assert answer.command == f"vllm serve {MODEL} {words}"


def test_a_configuration_file_that_is_not_here_is_said() -> None:
    answer = judged(f"vllm serve {MODEL} --config nowhere.yaml")
    assert answer.verdict("--config") == "unchecked"
    assert "nowhere.yaml" in answer.finding("--config")["says"]
    assert "--config nowhere.yaml" in answer.command


def test_a_value_behind_a_flag_without_one_becomes_todays_form() -> None:
    answer = judged(f"vllm serve {MODEL} --enable-chunked-prefill false --enforce-eager true")
    assert answer.command == f"vllm serve {MODEL} --no-enable-chunked-prefill --enforce-eager"
