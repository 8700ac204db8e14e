"""Are groups of NCCL asked for as a PyTorch with CUDA takes it? Whether they work, only GPUs can show: test_on_a_gpu."""

import pytest
from torch import distributed

from cordee.core.errors import UsageError

if not distributed.is_nccl_available():
    pytest.skip("this PyTorch has no NCCL", allow_module_level=True)

from cordee.train.worker.nccl import check, options_of


def test_options_are_known() -> None:
    options = options_of("7replica1", 4)
    assert options.config.blocking == 0
    assert options._timeout.total_seconds() == 600
    assert options.global_ranks_in_group == [0, 1, 2, 3]


def test_a_version_whose_aborts_may_not_end_is_refused() -> None:
    check((2, 26, 2))
    with pytest.raises(UsageError, match="are freed by NCCL"):
        check((2, 21, 5))
