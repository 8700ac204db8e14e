"""Cordée: takes LLM workloads from NVIDIA GPUs to Ascend and keeps them running."""

__version__ = "0.1.0"
