"""What a model is made of, from a config.json: layers, sizes, and how many parameters that makes."""

from cordee.plan.model.model import (
    Experts,
    GroupedAttention,
    LatentAttention,
    Layer,
    Mlp,
    Model,
)
from cordee.plan.model.reading import from_config, model, named

__all__ = [
    "Experts",
    "GroupedAttention",
    "LatentAttention",
    "Layer",
    "Mlp",
    "Model",
    "from_config",
    "model",
    "named",
]
