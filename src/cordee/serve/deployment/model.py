"""The model of a deployment: what its config.json says, and what vllm-ascend says of such models."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from cordee.core.facts import Fact, rows
from cordee.serve.deployment.flags import TABLES
from cordee.serve.deployment.judgement import Finding, Verdict, row_for

EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
# What a name says of its weights, where there is no config.json to ask.
NAMED = {
    "awq": "awq", "gptq": "gptq", "fp8": "fp8", "bnb": "bitsandbytes", "gguf": "gguf",
    "nvfp4": "modelopt_fp4", "int4": "gptq", "w8a8": "ascend", "w4a8": "ascend",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Known(Fact):
    """One row of vllm-ascend's matrix of models."""

    title: str
    names: list[str]
    """Patterns over the last part of a model's name, in small letters."""
    architectures: list[str]
    verdict: str
    families: list[str]
    why: str
    instead: str = ""
    weights: str = ""
    """The format in which its makers publish it, where that is none of bf16 and fp16."""
    checked: str


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of the model."""

    name: str
    architectures: tuple[str, ...] = ()
    dtype: str = ""
    quantization: str = ""
    """The format of its weights; empty where they are plain, or nothing is known."""
    read: bool = False
    """Whether a config.json was there."""
    experts: bool = False
    latent: bool = False
    """Whether its attention is MLA."""
    problem: str = field(default="")


@cache
def matrix() -> tuple[Known, ...]:
    """Every row of the table of models."""
    return tuple(rows(TABLES / "models.toml", Known))


def model_of(name: str, folder: Path) -> Model:
    """What a model's folder says, or else its name."""
    path = folder / name
    try:
        if not (path / "config.json").is_file():
            return Model(name, quantization=_by_name(name))
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return Model(name, problem=f"{name}/config.json cannot be read: {error}")
    if not isinstance(config, dict):
        return Model(name, problem=f"{name}/config.json holds no object")
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else config
    described = (path / "quant_model_description.json").is_file()
    quantized = config.get("quantization_config")
    method = quantized.get("quant_method") if isinstance(quantized, dict) else ""
    architectures = config.get("architectures")
    return Model(
        name,
        tuple(str(a) for a in architectures) if isinstance(architectures, list) else (),
        str(inner.get("dtype") or inner.get("torch_dtype") or config.get("torch_dtype") or ""),
        "ascend" if described else str(method or ""),
        read=True,
        experts=any(key in inner for key in EXPERTS),
        latent="kv_lora_rank" in inner,
    )


def _by_name(name: str) -> str:
    parts = name.lower().replace("_", "-").split("/")[-1].split("-")
    return next((NAMED[part] for part in parts if part in NAMED), "")


def findings_about(model: Model, family: str, told: str | None) -> Iterator[Finding]:
    """What is said of the model and its weights; `told` is the value of --quantization."""
    if model.problem:
        yield Finding(Verdict.UNCHECKED, "model", model.problem, "mend the folder", True)
        return
    known = _known(model, family)
    yield _support(model, known, family)
    weights, where = _weights(model, known)
    if weights and not told:
        row = row_for(weights.lower(), weights, family, "quantization.toml")
        if row is not None:
            yield row.finding(f"weights in {weights}, {where}")
    if model.latent and family == "310P":
        yield Finding(
            Verdict.ABSENT,
            "attention with latents (MLA)",
            "refused on 300I Duo",
            "a chip of A2 or A3, or another model",
            True,
            "github.com/vllm-project/vllm-ascend v0.23.0 vllm_ascend/_310p/model_runner_310p.py",
        )


def _weights(model: Model, known: list[Known]) -> tuple[str, str]:
    """The format of the weights, and who says so."""
    if model.read or model.quantization:
        return model.quantization, f"as {'config.json' if model.read else 'the name'} says"
    plain = "bf16" in model.name.lower()
    return ("" if plain or not known else known[0].weights), "as its makers publish it"


def _known(model: Model, family: str) -> list[Known]:
    """The rows about a model, those of this chip first."""
    last = model.name.rstrip("/").rpartition("/")[2].lower()
    fitting = [k for k in matrix() if any(fnmatchcase(last, p) for p in k.names)]
    if not fitting:
        fitting = [k for k in matrix() if set(k.architectures) & set(model.architectures)]
    return sorted(fitting, key=lambda known: family not in known.families)


def _support(model: Model, known: list[Known], family: str) -> Finding:
    subject = f"model {model.name}" + (
        f" ({model.architectures[0]})" if model.architectures else ""
    )
    if known and family in known[0].families:
        here = known[0]
        verdict = Verdict(here.verdict)
        open_ = verdict is not Verdict.WORKS
        return Finding(verdict, subject, here.why, here.instead, open_, here.source)
    if known:
        says = f"in vllm-ascend's matrix for {', '.join(known[0].families)}, not for this chip"
        return Finding(Verdict.UNCHECKED, subject, says, "try it", True, known[0].source)
    if "$" in model.name:
        says = "its name is in a variable"
    else:
        says = "not in vllm-ascend's matrix of models"
    return Finding(Verdict.UNCHECKED, subject, says, "try it", True)
