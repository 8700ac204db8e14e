"""What a model is made of, from a config.json: layers, sizes, and how many parameters that makes."""

from cordee.plan.model.attention import CompressedAttention, GroupedAttention, LatentAttention
from cordee.plan.model.model import Attention, Experts, Layer, Mlp, Model
from cordee.plan.model.reading import from_config, model, named
from cordee.plan.model.states import LinearAttention, SelectiveScan, StateSpace

__all__ = [
    "Attention",
    "CompressedAttention",
    "Experts",
    "GroupedAttention",
    "LatentAttention",
    "Layer",
    "LinearAttention",
    "Mlp",
    "Model",
    "SelectiveScan",
    "StateSpace",
    "from_config",
    "model",
    "named",
]
