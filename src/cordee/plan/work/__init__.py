"""What a chip does in a pass: matrix products, attention, vector kernels, collectives."""

from cordee.plan.work.ends import embedding_pass, head_pass
from cordee.plan.work.layers import Pass, forward_operators, layer_pass, weight_gradients
from cordee.plan.work.operators import AttentionCore, Collective, Matmul, Operator, Vector

__all__ = [
    "AttentionCore",
    "Collective",
    "Matmul",
    "Operator",
    "Pass",
    "Vector",
    "embedding_pass",
    "forward_operators",
    "head_pass",
    "layer_pass",
    "weight_gradients",
]
