"""Sequence mixers that carry a state along: delta rules, causal convolutions, hyper-connections."""

from cordee.emulator.ops.state_space import convolution, delta_rule, hyper_connections

__all__ = ["convolution", "delta_rule", "hyper_connections"]
