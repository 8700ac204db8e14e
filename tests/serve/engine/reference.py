"""Small models of every family made by transformers, with its logits: `python reference.py FOLDER`.

Runs as a process of its own, because transformers imports torch_npu where it finds it, which needs a chip.
"""

import os
import sys
from pathlib import Path

os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
sys.modules["torch_npu"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers as t  # noqa: E402
from reference_models import FAMILIES, PROMPTS  # noqa: E402

SIZES = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}
MODELS = {
    "llama": lambda: t.LlamaConfig(**SIZES, head_dim=16, tie_word_embeddings=True),
    "llama3": lambda: t.LlamaConfig(**SIZES, head_dim=16, rope_parameters=LLAMA3),
    "llama-linear": lambda: t.LlamaConfig(
        **SIZES, head_dim=32, rope_parameters=LINEAR, attention_bias=True
    ),
    "mistral": lambda: t.MistralConfig(**SIZES, head_dim=16, sliding_window=20),
    "qwen2": lambda: t.Qwen2Config(
        **{**SIZES, "hidden_size": 128},
        use_sliding_window=True,
        sliding_window=20,
        max_window_layers=1,
    ),
    "qwen3": lambda: t.Qwen3Config(**SIZES, head_dim=48, tie_word_embeddings=True),
    "qwen3_moe": lambda: t.Qwen3MoeConfig(
        **SIZES,
        head_dim=16,
        num_experts=6,
        num_experts_per_tok=2,
        moe_intermediate_size=40,
        norm_topk_prob=True,
        mlp_only_layers=[1],
    ),
    "gpt2": lambda: t.GPT2Config(vocab_size=323, n_embd=96, n_layer=3, n_head=4, n_positions=256),
}


def make(name: str, folder: Path) -> None:
    torch.manual_seed(0)
    config = MODELS[name]()
    config._attn_implementation = "eager"
    model = t.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # wide, with biases and norms that matter
            parameter += torch.randn_like(parameter) * 0.1
        model.save_pretrained(folder / name)
        logits = [model(torch.tensor([prompt])).logits[0].numpy() for prompt in PROMPTS]
    np.savez(folder / name / "reference.npz", *logits)


if __name__ == "__main__":
    for model_name in FAMILIES:
        make(model_name, Path(sys.argv[1]))
