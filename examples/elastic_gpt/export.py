"""Saves the GPT as Hugging Face lays out a Llama, so that any engine serves it."""

import json

from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


def save(model, vocabulary, folder):
    """Weights, their shape, and a tokenizer whose tokens are characters."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.cpu().contiguous() for name, weight in renamed(model)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(described(model.config), indent=1))
    tokenizer(vocabulary.chars).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))


def described(config):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.n_embd,
        "intermediate_size": config.n_inner,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_head,
        "max_position_embeddings": config.block_size,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }


def renamed(model):
    """Each weight under the name that it has in a Llama; those that are one here are cut in parts."""
    yield "model.embed_tokens.weight", model.tokens.weight
    yield "model.norm.weight", model.norm.weight
    for number, block in enumerate(model.blocks):
        layer = f"model.layers.{number}."
        yield layer + "input_layernorm.weight", block.norm_1.weight
        yield layer + "post_attention_layernorm.weight", block.norm_2.weight
        parts = zip("qkv", block.attn.qkv.weight.chunk(3), strict=True)
        yield from ((f"{layer}self_attn.{name}_proj.weight", part) for name, part in parts)
        yield layer + "self_attn.o_proj.weight", block.attn.proj.weight
        parts = zip(("gate", "up"), block.mlp.gate_up.weight.chunk(2), strict=True)
        yield from ((f"{layer}mlp.{name}_proj.weight", part) for name, part in parts)
        yield layer + "mlp.down_proj.weight", block.mlp.down.weight


def tokenizer(chars):
    made = Tokenizer(
        models.WordLevel({char: number for number, char in enumerate(chars)}, chars[0])
    )
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    return made
