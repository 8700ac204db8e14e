"""Models with random weights for benchmarks and demos: a Llama of 20 M and a Qwen3 of 0.6 B.

python benchmarks/models.py FOLDER [tiny] [0.6b]: nothing is downloaded. The tokenizer is trained on
Python's own library; the weights are drawn so wide that answers differ from prompt to prompt.
"""

import json
import os
import sys
import sysconfig
from pathlib import Path

os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")  # no chip is needed here

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHARED = {
    "bos_token_id": 0,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
MODELS = {
    "tiny": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 64,
    },
    "0.6b": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": 151_936,  # that of the real model, larger than the tokenizer's
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
}


def write_tokenizer(folder: Path) -> None:
    """Write a byte-level BPE tokenizer of 32,000 tokens, with a chat template."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [str(file) for file in sorted(library.rglob("*.py"))[:800]]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train(
        files,
        trainers.BpeTrainer(
            vocab_size=32_000,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save(str(folder / "tokenizer.json"))
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[3],
        "chat_template": TEMPLATE,
        "model_max_length": 4096,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(facts, indent=1))


def weights(config: dict[str, object]) -> dict[str, torch.Tensor]:
    """Draw the weights that `config` calls for, in bfloat16, by the names of the family."""
    hidden, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    width = int(config["head_dim"])
    heads, kv = int(config["num_attention_heads"]), int(config["num_key_value_heads"])

    def drawn(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape) * 0.05).to(torch.bfloat16)

    def ones(count: int) -> torch.Tensor:
        return torch.ones(count, dtype=torch.bfloat16)

    made = {
        "model.embed_tokens.weight": drawn(int(config["vocab_size"]), hidden),
        "model.norm.weight": ones(hidden),
    }
    for layer in range(int(config["num_hidden_layers"])):
        names = {
            "input_layernorm": ones(hidden),
            "post_attention_layernorm": ones(hidden),
            "self_attn.q_proj": drawn(heads * width, hidden),
            "self_attn.k_proj": drawn(kv * width, hidden),
            "self_attn.v_proj": drawn(kv * width, hidden),
            "self_attn.o_proj": drawn(hidden, heads * width),
            "mlp.gate_proj": drawn(wide, hidden),
            "mlp.up_proj": drawn(wide, hidden),
            "mlp.down_proj": drawn(hidden, wide),
        }
        if config["model_type"] == "qwen3":
            names |= {"self_attn.q_norm": ones(width), "self_attn.k_norm": ones(width)}
        made |= {f"model.layers.{layer}.{name}.weight": value for name, value in names.items()}
    return made


def main() -> None:
    """Write the models named on the command line, or all."""
    home = Path(sys.argv[1])
    for name in sys.argv[2:] or MODELS:
        torch.manual_seed(0)
        folder, config = home / name, SHARED | MODELS[name]
        write_tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        made = weights(config)
        save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
        print(f"{folder}: {sum(w.numel() for w in made.values()) / 1e6:.0f} M weights")


if __name__ == "__main__":
    main()
