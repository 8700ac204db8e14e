"""Model folders for tests: random weights, and a real tokenizer trained on Python's own library."""

import json
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = """{%- if tools %}<|im_start|>system
You may call these, as <tool_call>{"name": ..., "arguments": ...}</tool_call>:
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}{%- for m in messages %}<|im_start|>{{ m['role'] }}
{{ m['content'] }}{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}\
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
VOCABULARY = 2048
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def write_model(folder: Path, seed: int = 0, layers: int = 2, width: int = 16) -> Path:
    """A small Qwen3 that talks nonsense, differently to every prompt; with many layers it is slow.

    `width` is that of a head; vLLM's kernels for the CPU need 32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    config = CONFIG | {"num_hidden_layers": layers, "head_dim": width}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(_weights(seed, layers, width), folder / "model.safetensors")
    return folder


def write_tokenizer(folder: Path, template: str = TEMPLATE) -> None:
    (folder / "tokenizer.json").write_text(_tokenizer())
    config = {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@cache
def _tokenizer() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library = Path(sysconfig.get_path("stdlib"))
    tokenizer.train([str(library / name) for name in ("argparse.py", "typing.py")], trainer)
    return str(tokenizer.to_str())


def _weights(seed: int, layers: int, width: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    hidden, wide = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    queries, keys = 4 * width, 2 * width

    def matrix(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 1.2 / np.sqrt(shape[-1])).astype(np.float32)

    made = {
        "model.embed_tokens.weight": matrix(VOCABULARY, hidden) * 4,
        "model.norm.weight": np.ones(hidden, np.float32) * 1.5,
    }
    for number in range(layers):
        at = f"model.layers.{number}"
        shapes = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (wide, hidden),
            "mlp.up_proj": (wide, hidden),
            "mlp.down_proj": (hidden, wide),
        }
        for name, shape in shapes.items():
            made[f"{at}.{name}.weight"] = matrix(*shape) * 2
        for name, size in (
            ("input_layernorm", hidden),
            ("post_attention_layernorm", hidden),
            ("self_attn.q_norm", width),
            ("self_attn.k_norm", width),
        ):
            made[f"{at}.{name}.weight"] = np.ones(size, np.float32)
    return made
