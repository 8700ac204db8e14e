"""What layers keep for their backward pass, planned beside what the virtual chip's allocator counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.plan.kept.sizes import (
    CHOSEN,
    EXPERTS,
    HEAD,
    HEADS,
    HIDDEN,
    KV_RANK,
    NARROW,
    PLAIN,
    QUERY_RANK,
    ROPE,
    SEQUENCES,
    SHARED,
    TOKENS,
    WIDE,
)

from cordee.plan.kept import kept_bytes
from cordee.plan.layout import Job, Layout
from cordee.plan.model import Model, from_config

PROGRAM = Path(__file__).with_name("program.py")
ASKED = (
    "dense", "dense,layernorm", "dense,mlp_act", "dense,mlp", "dense,full",
    "mixture", "mixture,layernorm", "mixture,moe_act", "mixture,moe_tokens", "mixture,mla_up_proj",
    "mixture,moe", "mixture,moe_act,layernorm,mla_up_proj,mlp_act", "mixture,full",
)  # fmt: skip
"""A kind of layer, with what is done again."""
SIZES = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 1,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "vocab_size": 64,
}


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    words = [sys.executable, "-m", "cordee", "run", "--", sys.executable, str(PROGRAM), *ASKED]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {line["asked"]: line["bytes"] for line in lines}


def built(kind: str) -> Model:
    if kind == "dense":
        own = {"model_type": "llama", "head_dim": HEAD, "intermediate_size": WIDE}
    else:
        own = {
            "model_type": "deepseek_v3",
            "q_lora_rank": QUERY_RANK,
            "kv_lora_rank": KV_RANK,
            "qk_nope_head_dim": PLAIN,
            "qk_rope_head_dim": ROPE,
            "v_head_dim": HEAD,
            "intermediate_size": WIDE,
            "moe_intermediate_size": NARROW,
            "n_routed_experts": EXPERTS,
            "num_experts_per_tok": CHOSEN,
            "n_shared_experts": SHARED // NARROW,
            "first_k_dense_replace": 0,
        }
    return from_config(SIZES | own, kind)


@pytest.mark.parametrize("asked", ASKED)
def test_a_layer_keeps_within_5_percent_of_what_the_allocator_counts(
    measured: dict[str, int], asked: str
) -> None:
    kind, *again = asked.split(",")
    layout = Layout(
        chips=1,
        micro_batch=SEQUENCES,
        recompute="full" if "full" in again else "none",
        recompute_parts=tuple(part for part in again if part != "full"),
    )
    job = Job(model=built(kind), layout=layout, sequence=TOKENS, batch=SEQUENCES)
    assert kept_bytes(job, job.model.layers[-1]) == pytest.approx(measured[asked], rel=0.05)
