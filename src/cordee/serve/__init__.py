"""Inference that survives a dying chip in mid-answer, and moves from NVIDIA to Ascend."""
