"""What environment variables for NVIDIA mean on Ascend."""

import pytest

from cordee.port.finding import Confidence, Meaning, Safety
from cordee.port.rules.environment import Translation, translation


def _of(name: str, value: str | None) -> Translation:
    found = translation(name, value)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "value", "new_name", "new_value"),
    [
        ("CUDA_VISIBLE_DEVICES", "0,1", "ASCEND_RT_VISIBLE_DEVICES", "0,1"),
        ("CUDA_VISIBLE_DEVICES", "0, 1", "ASCEND_RT_VISIBLE_DEVICES", "0,1"),
        ("CUDA_VISIBLE_DEVICES", "3,1", "ASCEND_RT_VISIBLE_DEVICES", "1,3"),
        ("CUDA_VISIBLE_DEVICES", "$GPUS", "ASCEND_RT_VISIBLE_DEVICES", "$GPUS"),
        ("CUDA_VISIBLE_DEVICES", "", "ASCEND_RT_VISIBLE_DEVICES", None),
        ("CUDA_VISIBLE_DEVICES", "-1", "ASCEND_RT_VISIBLE_DEVICES", None),
        ("CUDA_VISIBLE_DEVICES", "GPU-8932f937", "ASCEND_RT_VISIBLE_DEVICES", None),
        ("NVIDIA_VISIBLE_DEVICES", "none", "ASCEND_VISIBLE_DEVICES", "void"),
        ("NVIDIA_VISIBLE_DEVICES", "all", "ASCEND_VISIBLE_DEVICES", None),
        ("NCCL_BUFFSIZE", "4194305", "HCCL_BUFFSIZE", "5"),
        ("NCCL_IB_TC", "106", "HCCL_RDMA_TC", None),
        ("NCCL_IB_TC", "104", "HCCL_RDMA_TC", "104"),
        ("NCCL_IB_TIMEOUT", "22", "HCCL_RDMA_TIMEOUT", None),
        ("NCCL_SOCKET_IFNAME", "^lo,docker", "HCCL_SOCKET_IFNAME", "^lo,docker"),
        ("TORCH_NCCL_BLOCKING_WAIT", "1", "TORCH_HCCL_BLOCKING_WAIT", "1"),
        ("NCCL_DEBUG", "INFO", "", None),
        ("DS_ACCELERATOR", "cuda", "DS_ACCELERATOR", "npu"),
    ],
)
def test_a_value_is_translated_by_its_meaning(name, value, new_name, new_value) -> None:
    found = _of(name, value)
    assert (found.name, found.value) == (new_name, new_value)


@pytest.mark.parametrize(
    ("value", "new", "safety"),
    [
        ("expandable_segments:True", "expandable_segments:True", Safety.SAFE),
        ("max_split_size_mb:128", "max_split_size_mb:128", Safety.SAFE),
        (
            "backend:native,max_split_size_mb:128",
            "max_split_size_mb:128",
            Safety.UNSAFE,
        ),
        ("expandable_segments:True,max_split_size_mb:128", None, Safety.UNSAFE),
        ("backend:cudaMallocAsync", None, Safety.UNSAFE),
    ],
)
def test_the_allocator_is_told_only_what_it_knows(value, new, safety) -> None:
    found = _of("PYTORCH_CUDA_ALLOC_CONF", value)
    assert (found.value, found.safety) == (new, safety)


def test_devices_in_another_order_are_for_a_person_to_look_at() -> None:
    assert _of("CUDA_VISIBLE_DEVICES", "0,1").safety is Safety.SAFE
    assert _of("CUDA_VISIBLE_DEVICES", "1,0").safety is Safety.UNSAFE


def test_what_ascend_reads_too_is_kept() -> None:
    assert _of("CUDA_DEVICE_MAX_CONNECTIONS", "1").kept


def test_a_known_prefix_is_enough_to_be_reported() -> None:
    found = _of("NCCL_NEVER_HEARD_OF", "1")
    assert (found.confidence, found.meaning) == (Confidence.UNSURE, Meaning.RUNS)


@pytest.mark.parametrize("name", ["PATH", "HCCL_BUFFSIZE", "PYTORCH_ALLOC_CONF", "MY_CUDA_FLAG"])
def test_other_variables_are_not_ours(name) -> None:
    assert translation(name, "1") is None
