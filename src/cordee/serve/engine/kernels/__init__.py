"""Kernels for the CPU, in C, compiled at first use for the processor at hand."""
