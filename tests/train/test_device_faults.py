"""Is an error told apart by its text: of a device, of the program on a device, or of neither?"""

import pytest

from cordee.train.worker.device_faults import device_fault


@pytest.mark.parametrize(
    ("text", "words", "lasting"),
    [
        ("UCE ERROR happened", "the memory of its chip is bad", False),
        ("CUDA error: uncorrectable ECC error encountered", "the memory of its chip is bad", False),
        (
            "CUDA error: uncorrectable NVLink error detected during the execution",
            "a link of its chip is bad",
            True,
        ),
        ("CUDA error: unknown error", "its chip is lost", True),
    ],
)
def test_what_a_device_says_of_itself_is_its_own_fault(
    text: str, words: str, lasting: bool
) -> None:
    fault = device_fault(RuntimeError(f"{text}\nCompile with `TORCH_USE_CUDA_DSA`"))
    assert fault is not None
    assert (fault.words, fault.lasting, fault.own) == (words, lasting, False)


def test_a_program_that_fails_on_a_gpu_is_to_blame_itself_and_cannot_go_on() -> None:
    fault = device_fault(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert fault is not None
    assert fault.own


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "NCCL communicator was aborted on rank 1.",
        "epoch 3 is over",
    ],
)
def test_what_may_go_better_in_another_group_is_nobodys_fault(text: str) -> None:
    assert device_fault(RuntimeError(text)) is None
