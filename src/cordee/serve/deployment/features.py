"""What options, chip, variables and model mean together: where one alone would say nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cordee.core.shell.words import Word
from cordee.serve.deployment.arguments import Arguments
from cordee.serve.deployment.chips import Family
from cordee.serve.deployment.judgement import Finding, Verdict
from cordee.serve.deployment.model import Model

ASCEND = "github.com/vllm-project/vllm-ascend v0.23.0 "
PLATFORM = ASCEND + "vllm_ascend/platform.py"
MOST_TOKENS = 16
"""Tokens of one request that the attention operator takes in a decode step."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a combination can depend on."""

    arguments: Arguments
    family: Family
    settings: dict[str, str]
    """Variables as they are set on Ascend."""
    model: Model | None


@dataclass(frozen=True, slots=True)
class Added:
    """What is said of a combination, and options that are written for it."""

    finding: Finding
    words: tuple[Word, ...] = ()
    unset: str = ""
    """A variable that is left out for it."""


def combined(situation: Situation) -> list[Added]:
    """Everything that follows from the whole."""
    return [added for rule in RULES for added in rule(situation)]


def _halves(s: Situation) -> Iterator[Added]:
    """300I Duo has no bf16; vLLM takes the type of the checkpoint unless it is told."""
    told = s.arguments.value("--dtype")
    plain = s.model is not None and s.model.dtype in ("float16", "half")
    if s.family.bf16 or told not in (None, "auto") or plain:
        return
    yield Added(
        Finding(
            Verdict.OTHERWISE,
            "--dtype, not given" if told is None else "--dtype auto",
            "300I Duo serves in float16; checkpoints are mostly in bfloat16",
            source=ASCEND + "docs/source/quick_start.md",
        ),
        (Word("--dtype"), Word("float16")),
    )


def _draft_length(s: Situation) -> Iterator[Added]:
    tokens = s.arguments.number("--speculative-config.num_speculative_tokens", 0)
    tokens = tokens or s.arguments.number("--num-speculative-tokens", 0)
    tokens = tokens or s.arguments.number("--spec-tokens", 0)
    if tokens + 1 > MOST_TOKENS:
        yield Added(
            Finding(
                Verdict.ABSENT,
                f"{tokens} speculative tokens",
                f"attention on Ascend takes {MOST_TOKENS} tokens of a request in a step",
                f"at most {MOST_TOKENS - 1}",
                True,
                ASCEND + "docs/source/user_guide/feature_guide/speculative_decoding.md",
            )
        )


def _draft_over_stages(s: Situation) -> Iterator[Added]:
    method = s.arguments.value("--speculative-config.method") or s.arguments.value("--spec-method")
    producer = s.arguments.value("--kv-transfer-config.kv_role") == "kv_producer"
    if (
        "mtp" in (method or "")
        and s.arguments.number("--pipeline-parallel-size") > 1
        and not producer
    ):
        yield Added(
            Finding(
                Verdict.ABSENT,
                "MTP over pipeline stages",
                "refused but on prefill nodes (kv_role kv_producer)",
                "--pipeline-parallel-size 1, or no MTP",
                True,
                PLATFORM,
            )
        )


def _contexts_and_data(s: Situation) -> Iterator[Added]:
    contexts = s.arguments.number("--prefill-context-parallel-size")
    if contexts > 1 and s.arguments.number("--data-parallel-size") > 1:
        yield Added(
            Finding(
                Verdict.ABSENT,
                "prefill context and data parallelism at once",
                "refused by vllm-ascend",
                "one of the two",
                True,
                PLATFORM,
            )
        )


def _adapters_and_experts(s: Situation) -> Iterator[Added]:
    if not s.arguments.has("--enable-lora"):
        return
    quantized = s.arguments.value("--quantization") or (s.model and s.model.quantization)
    with_experts = s.model is not None and s.model.experts
    if s.arguments.has("--enable-expert-parallel") or (with_experts and quantized):
        yield Added(
            Finding(
                Verdict.ABSENT,
                "LoRA with expert parallelism or quantised experts",
                "vllm-ascend has LoRA for experts without either",
                "leave expert parallelism or quantisation out, or merge the adapter",
                True,
                ASCEND + "docs/source/user_guide/feature_guide/lora.md",
            )
        )


def _blocking(s: Situation) -> Iterator[Added]:
    if s.settings.get("ASCEND_LAUNCH_BLOCKING") == "1" and not s.arguments.has("--enforce-eager"):
        yield Added(
            Finding(
                Verdict.OTHERWISE,
                "ASCEND_LAUNCH_BLOCKING=1",
                "refused together with ACL graphs, so it is left out",
                "to debug: set it, with --enforce-eager",
                False,
                PLATFORM,
            ),
            unset="ASCEND_LAUNCH_BLOCKING",
        )


def _sleeping(s: Situation) -> Iterator[Added]:
    allocator = s.settings.get("PYTORCH_NPU_ALLOC_CONF", "")
    if s.arguments.has("--enable-sleep-mode") and "expandable_segments:True" in allocator:
        yield Added(
            Finding(
                Verdict.OTHERWISE,
                "PYTORCH_NPU_ALLOC_CONF=expandable_segments:True",
                "not with sleep mode, so it is left out",
                source=PLATFORM,
            ),
            unset="PYTORCH_NPU_ALLOC_CONF",
        )


def _format_told(s: Situation) -> Iterator[Added]:
    """What ModelSlim made is found by itself since 0.18; naming it does no harm."""
    if s.model is not None and s.model.quantization == "ascend" and s.model.read:
        told = s.arguments.value("--quantization")
        if told not in (None, "ascend"):
            yield Added(
                Finding(
                    Verdict.OTHERWISE,
                    f"--quantization {told}",
                    "the folder holds weights made by ModelSlim",
                    "--quantization ascend",
                    True,
                    ASCEND + "vllm_ascend/quantization/utils.py",
                )
            )


RULES: tuple[Callable[[Situation], Iterator[Added]], ...] = (
    _halves,
    _draft_length,
    _draft_over_stages,
    _contexts_and_data,
    _adapters_and_experts,
    _blocking,
    _sleeping,
    _format_told,
)
