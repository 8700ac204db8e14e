"""What a model is made of, as its config.json says it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cordee.core.errors import UsageError
from cordee.serve.text.vocabulary import read_json

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "gpt2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Rotary positions: the base, and how long contexts are reached (Llama 3.1 or linear)."""

    theta: float
    kind: Literal["default", "linear", "llama3"] = "default"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original_positions: int = 8192

    def frequencies(self, width: int) -> list[float]:
        """Radians per position of each of the `width` / 2 pairs."""
        plain = [self.theta ** (-2 * i / width) for i in range(width // 2)]
        if self.kind == "linear":
            return [f / self.factor for f in plain]
        if self.kind == "llama3":
            return [self._llama3(f) for f in plain]
        return plain

    def _llama3(self, frequency: float) -> float:
        """Source: transformers modeling_rope_utils.py, _compute_llama3_parameters."""
        wave = 2 * math.pi / frequency
        if wave < self.original_positions / self.high:
            return frequency
        if wave > self.original_positions / self.low:
            return frequency / self.factor
        smooth = (self.original_positions / wave - self.low) / (self.high - self.low)
        return (1 - smooth) * frequency / self.factor + smooth * frequency


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of experts: `chosen` of `count` work on each token."""

    count: int
    chosen: int
    width: int
    normalised: bool
    every: int
    """A layer has experts where (number + 1) is a multiple of it..."""
    except_layers: frozenset[int]
    """...and is not one of these."""

    def at(self, layer: int) -> bool:
        return layer not in self.except_layers and (layer + 1) % self.every == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes and variants of one decoder."""

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    vocabulary: int
    positions: int
    norm_eps: float
    rope: Rope | None
    tied: bool
    attention_bias: bool
    output_bias: bool
    head_norms: bool
    experts: Experts | None
    windows: tuple[int, ...]
    """How many positions back each layer sees; 0: all."""


def read_shape(folder: Path) -> Shape:
    """The shape of the model in `folder`. Raises `UsageError` where it is none we can run."""
    file = folder / "config.json"
    if not folder.is_dir() or not file.exists():
        raise UsageError(f"{folder}: is no model folder: it has no config.json")
    config = read_json(file)
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UsageError(
            f"{file}: model_type is {family!r}; the engine runs {', '.join(FAMILIES)}. "
            'For others, serve it with vLLM: kind = "vllm" in a fleet file'
        )
    try:
        shape = _gpt2(config) if family == "gpt2" else _llama_like(config, str(family))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file}: {error} is missing or has no sensible value") from error
    _check(shape, file)
    return shape


def _llama_like(config: dict[str, object], family: str) -> Shape:
    number = _Numbers(config)
    heads, hidden = number("num_attention_heads"), number("hidden_size")
    layers = number("num_hidden_layers")
    return Shape(
        family=family,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=number("num_key_value_heads", heads),
        head_width=number("head_dim", hidden // heads),
        mlp_width=number("intermediate_size"),
        vocabulary=number("vocab_size"),
        positions=number("max_position_embeddings", 4096),
        norm_eps=float(str(config.get("rms_norm_eps", 1e-6))),
        rope=_rope(config),
        tied=bool(config.get("tie_word_embeddings", False)),
        attention_bias=bool(config.get("attention_bias", family == "qwen2")),
        output_bias=bool(config.get("attention_bias", False)),
        head_norms=family in ("qwen3", "qwen3_moe"),
        experts=_experts(config) if family == "qwen3_moe" else None,
        windows=_windows(config, family, layers),
    )


def _gpt2(config: dict[str, object]) -> Shape:
    number = _Numbers(config)
    hidden, heads = number("n_embd"), number("n_head")
    return Shape(
        family="gpt2",
        layers=number("n_layer"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_width=hidden // heads,
        mlp_width=number("n_inner", 4 * hidden),
        vocabulary=number("vocab_size"),
        positions=number("n_positions"),
        norm_eps=float(str(config.get("layer_norm_epsilon", 1e-5))),
        rope=None,
        tied=bool(config.get("tie_word_embeddings", True)),
        attention_bias=True,
        output_bias=True,
        head_norms=False,
        experts=None,
        windows=(0,) * number("n_layer"),
    )


class _Numbers:
    """Positive whole numbers of a configuration, where null stands for the default."""

    def __init__(self, config: dict[str, object]) -> None:
        self._config = config

    def __call__(self, name: str, default: int | None = None) -> int:
        value = self._config.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise KeyError(name)
        return value


def _rope(config: dict[str, object]) -> Rope:
    # transformers 5 writes rope_parameters, older versions rope_theta and rope_scaling.
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise KeyError("rope_parameters")
    theta = float(given.get("rope_theta") or str(config.get("rope_theta", 10_000.0)))
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind == "default":
        return Rope(theta=theta)
    if kind == "linear":
        return Rope(theta=theta, kind="linear", factor=float(given["factor"]))
    if kind == "llama3":
        return Rope(
            theta=theta,
            kind="llama3",
            factor=float(given["factor"]),
            low=float(given["low_freq_factor"]),
            high=float(given["high_freq_factor"]),
            original_positions=int(given["original_max_position_embeddings"]),
        )
    raise UsageError(f"rope_type {kind!r} is not one the engine has: default, linear, llama3")


def _experts(config: dict[str, object]) -> Experts:
    number = _Numbers(config)
    dense = config.get("mlp_only_layers") or []
    assert isinstance(dense, list)
    return Experts(
        count=number("num_local_experts" if "num_local_experts" in config else "num_experts"),
        chosen=number("num_experts_per_tok"),
        width=number("moe_intermediate_size"),
        normalised=bool(config.get("norm_topk_prob", False)),
        every=number("decoder_sparse_step", 1),
        except_layers=frozenset(int(layer) for layer in dense),
    )


def _windows(config: dict[str, object], family: str, layers: int) -> tuple[int, ...]:
    window = config.get("sliding_window")
    if not isinstance(window, int) or (
        family != "mistral" and not config.get("use_sliding_window")
    ):
        return (0,) * layers
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return tuple(window if kind == "sliding_attention" else 0 for kind in kinds)
    full = config.get("max_window_layers", 0) if family != "mistral" else 0
    assert isinstance(full, int)
    return tuple(0 if layer < full else window for layer in range(layers))


def _check(shape: Shape, file: Path) -> None:
    wrong = [
        f"{name} {size} is no multiple of 8"
        for name, size in (
            ("hidden_size", shape.hidden),
            ("the width of a head", shape.head_width),
            ("intermediate_size", shape.mlp_width),
        )
        if size % 8
    ]
    if shape.rope and shape.head_width % 16:
        wrong.append(f"the width of a head {shape.head_width} is no multiple of 16")
    if shape.heads % shape.kv_heads:
        wrong.append(f"{shape.heads} heads do not share {shape.kv_heads} key-value heads evenly")
    if wrong:
        raise UsageError(f"{file}: {'; '.join(wrong)}")
