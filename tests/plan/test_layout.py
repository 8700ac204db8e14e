"""Layouts that cannot be are refused with the nearest that can."""

import pytest

from cordee.core.errors import UsageError
from cordee.plan.layout import Job, Layout
from cordee.plan.model import named


def job(model: str = "Llama-3.1-8B", **degrees: object) -> Job:
    layout = Layout(**({"chips": 8} | degrees))  # type: ignore[arg-type]
    return Job(model=named(model), layout=layout, sequence=4096, batch=64)


def test_what_is_left_of_the_chips_are_replicas() -> None:
    assert Layout(chips=64, tensor=8, pipeline=2).data == 4
    assert Layout(chips=64, tensor=8, pipeline=2, chunks=2).words.startswith("TP8 PP2 x2 DP4")


@pytest.mark.parametrize(
    ("degrees", "why"),
    [
        ({"chips": 12, "tensor": 8}, "12 chips do not divide by tensor 8 .*; 16 would"),
        ({"tensor": 0}, "tensor = 0: 1 or more"),
        ({"recompute": "some"}, "recompute = 'some': one of none, selective, full"),
        ({"schedule": "gpipe"}, "schedule = 'gpipe': one of 1f1b, zb-h1, zb-h2, zb-v, dualpipe"),
        (
            {"pipeline": 2, "chunks": 2, "schedule": "zb-v"},
            "chunks = 2: zb-v has no stages in chunks; leave it 1",
        ),
    ],
)
def test_impossible_degrees_are_refused(degrees: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        job(**degrees)


@pytest.mark.parametrize(
    ("model", "degrees", "why"),
    [
        ("Qwen2.5-7B", {"tensor": 8}, "28 attention heads do not divide by tensor 8; by 7 they do"),
        ("Llama-3.1-8B", {"pipeline": 8, "chunks": 8}, "32 layers do not fill .*at most 32"),
        ("Llama-3.1-8B", {"expert": 2}, "has no experts; leave it 1"),
        ("Mixtral-8x7B", {"expert": 3}, "8 experts do not divide by expert 3; by 2 they do"),
        ("Llama-3.1-8B", {"micro_batch": 3}, "64 sequences of a step do not divide"),
        (
            "Llama-3.1-8B",
            {"schedule": "zb-h1"},
            "one stage has no turns to take; pipeline 2 or more",
        ),
        (
            "Qwen2.5-7B",
            {"pipeline": 8, "schedule": "zb-v"},
            "28 layers do not fill pipeline 8 x 2 pieces; pipeline 7 would do",
        ),
        (
            "Llama-3.1-8B",
            {"chips": 6, "pipeline": 3, "schedule": "dualpipe"},
            "pipeline 3 is odd; 2 or 4 would do",
        ),
        (
            "Llama-3.1-8B",
            {"chips": 64, "pipeline": 8, "schedule": "dualpipev"},
            "8 micro-batches are too few for pipeline 8: 16 or more, by a larger batch or fewer replicas",
        ),
    ],
)
def test_a_layout_that_does_not_fit_the_model_is_refused(
    model: str, degrees: dict[str, object], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        job(model, **degrees).check()
