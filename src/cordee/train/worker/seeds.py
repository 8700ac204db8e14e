"""Random numbers of a shard: they follow from its step and its number, whoever computes it."""

import hashlib
import random

import torch


def seed_all(seed: int, step: int, shard: int) -> None:
    """For dropout and the like."""
    made = hashlib.blake2b(f"{seed} {step} {shard}".encode(), digest_size=8).digest()
    number = int.from_bytes(made, "little") >> 1
    torch.manual_seed(number)
    random.seed(number)
