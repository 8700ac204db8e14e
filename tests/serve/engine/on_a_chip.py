"""Logits of all families on a device of PyTorch: `python on_a_chip.py FOLDER TABLE DTYPE [int8]`.

Prints a line of JSON for each family: how far from transformers' logits, and whether the bits stay the
same in pieces and among others.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.serve.engine.reference_models import FAMILIES, PROMPTS
from tests.serve.engine.steps import logits_of, rows_of

from cordee.serve.engine.checkpoint import Checkpoint
from cordee.serve.engine.decoder import Decoder
from cordee.serve.engine.operators.ascend import AscendOperators
from cordee.serve.engine.operators.torch import TorchOperators
from cordee.serve.engine.shape import read_shape


def main(models: Path, table: str, dtype: str, weights: str = "") -> None:
    torch.set_grad_enabled(False)
    kind, device = {"torch": (TorchOperators, "cpu"), "ascend": (AscendOperators, "npu:0")}[table]
    for family in FAMILIES:
        folder = models / family
        operators = kind(device, getattr(torch, dtype), weights)
        model = Decoder(read_shape(folder), Checkpoint(folder), operators)
        reference = np.load(folder / "reference.npz")
        alone = [logits_of(model, ids, [len(ids)]) for ids in PROMPTS]
        far = max(
            float(np.abs(logits - reference[name]).max() / np.abs(reference[name]).max())
            for logits, name in zip(alone, reference.files, strict=True)
        )
        ids = PROMPTS[1]
        pieces = all(
            np.array_equal(alone[1], logits_of(model, ids, steps))
            for steps in ([1] * len(ids), [50, 2, 1, 44])
        )
        tables = [[9, 0, 0, 0, 0, 0, 0], [2, 4, 1, 3, 8, 6, 7], [5, 0, 0, 0, 0, 0, 0]]
        together = model.logits(rows_of([(0, i) for i in PROMPTS], tables), model.cache(10))
        told = {
            "family": family,
            "far": far,
            "pieces": pieces,
            "together": bool(np.array_equal(np.concatenate(alone), together)),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
