"""Runs what was ported, on the virtual chip and on the CPU, and compares."""
