"""What a model is made of, from a config.json: layers, sizes, and how many parameters that makes."""

from cordee.plan.model.model import (
    Attention,
    Experts,
    GroupedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    Mlp,
    Model,
)
from cordee.plan.model.reading import from_config, model, named

__all__ = [
    "Attention",
    "Experts",
    "GroupedAttention",
    "LatentAttention",
    "Layer",
    "LinearAttention",
    "Mlp",
    "Model",
    "from_config",
    "model",
    "named",
]
