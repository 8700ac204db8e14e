"""Does PyTorch read a checkpoint of a model that several workers held together, as it reads its own?"""

import hashlib
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.train.jobs import SMALL, job
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

SHARDED = SMALL.with_name("sharded.py")
WHOLE = {"data": (), "tensor": ("embedding.weight",)}
"""Tensors of which each worker has all."""


def small() -> torch.nn.Module:
    sys.path.insert(0, str(SMALL.parent))
    try:
        from small import Small
    finally:
        sys.path.pop(0)
    made: torch.nn.Module = Small()
    return made


def part_digest(model: torch.nn.Module, rank: int, whole: tuple[str, ...]) -> str:
    """As the program tells it of the part that a worker has."""
    made = hashlib.sha256()
    for name, value in model.state_dict().items():
        part = value if name in whole else value.chunk(2)[rank]
        made.update(part.contiguous().numpy().tobytes())
    return made.hexdigest()[:16]


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("kind", ["data", pytest.param("tensor", marks=pytest.mark.slow)])
def test_all_parts_are_one_state_for_a_model_that_nobody_shares(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed.checkpoint.hf_storage")
    kept = tmp_path / "kept"
    options = ("-n", "2", "--checkpoint", str(kept), "--checkpoint-every", "5")
    ended = job(tmp_path, str(SHARDED), "--kind", kind, options=options)
    assert ended.code == 0, ended.err

    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    moments = get_optimizer_state_dict(model, optimizer)["state"]
    state = {"model": model.state_dict(), "optimizer": {"state": moments}}
    reader = dcp.HuggingFaceStorageReader(str(kept / "step-000000012"))
    dcp.load(state, storage_reader=reader)

    logs = "".join(log.read_text() for log in sorted(tmp_path.glob("worker-*.log")))
    for rank in range(2):
        assert f"digest {rank}-{part_digest(model, rank, WHOLE[kind])}" in logs
    assert all(float(one["step"]) == 12 for one in moments.values())
    assert all(one["exp_avg_sq"].any() for one in moments.values())
