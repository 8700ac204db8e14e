"""The engines that benchmarks/engine.py compares, each a program that prints what it measured as JSON."""
