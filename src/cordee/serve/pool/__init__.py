"""Pools of replicas: what a fleet file describes, and the processes that this machine runs for it."""
