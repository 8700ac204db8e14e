"""A sequence walked through a decoder in steps of chosen sizes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cordee.serve.engine.checkpoint import Checkpoint
from cordee.serve.engine.decoder import Decoder
from cordee.serve.engine.operators.cpu import CpuCache, CpuOperators, CpuWeights, Matrix
from cordee.serve.engine.operators.table import BLOCK_TOKENS, Rows
from cordee.serve.engine.shape import read_shape

CpuDecoder = Decoder[Matrix, CpuWeights, CpuCache]


def decoder(folder: Path, threads: int = 1, weights: str = "bfloat16") -> CpuDecoder:
    return Decoder(read_shape(folder), Checkpoint(folder), CpuOperators(threads, weights))


def rows_of(pieces: Sequence[tuple[int, Sequence[int]]], tables: Sequence[Sequence[int]]) -> Rows:
    """One step: of each sequence the position where its piece begins, and the piece's ids."""
    ids = [i for _, piece in pieces for i in piece]
    positions = [first + n for first, piece in pieces for n in range(len(piece))]
    owners = [number for number, (_, piece) in enumerate(pieces) for _ in piece]
    return Rows(
        *(np.array(column, np.int32) for column in (ids, positions, owners, tables)),
        np.arange(len(ids), dtype=np.int32),
    )


def logits_of(
    model: CpuDecoder, ids: Sequence[int], steps: Sequence[int], first_block: int = 0
) -> NDArray[np.float32]:
    """[len(ids), vocabulary]: the ids given in steps of so many."""
    blocks = -(-len(ids) // BLOCK_TOKENS)
    cache = model.cache(first_block + blocks)
    table = [list(range(first_block, first_block + blocks))]
    parts, at = [], 0
    for step in steps:
        rows = rows_of([(at, ids[at : at + step])], table)
        parts.append(model.logits(rows, cache).copy())
        at += step
    assert at == len(ids)
    return np.concatenate(parts)
