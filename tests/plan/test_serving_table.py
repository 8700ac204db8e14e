"""Which calibration a deployment is predicted with."""

from dataclasses import replace

import pytest

from cordee.plan.calibration.serving_table import ServingCalibrations, serving_calibration
from cordee.plan.calibration.table import Kind
from cordee.plan.costs.serving_calibration import SERVING_BOUNDS, ServingCalibration

KIND = Kind("hopper", "vllm", "dense")
USUAL = ServingCalibration(pass_s=1e-3, stream=0.8)
KNOWN = ServingCalibrations(
    fitted={KIND: USUAL},
    families={
        "H100-SXM/vllm 0.9": replace(USUAL, pass_s=2e-3),
        "H100-SXM/vllm 0.9/Qwen3-32B": replace(USUAL, pass_s=9e-3),
    },
    models={"hopper/vllm/Llama-3.1-8B": replace(USUAL, pass_s=3e-3, stream=0.4)},
    versions=("H100-SXM/vllm 0.9", "H100-SXM/vllm 0.10"),
)


def test_a_family_that_was_measured_is_as_it_was_measured() -> None:
    assert KNOWN.find(KIND, "H100-SXM/vllm 0.9/Qwen3-32B").pass_s == 9e-3


def test_a_model_is_as_far_off_a_version_as_it_is_off_others() -> None:
    found = KNOWN.find(KIND, "H100-SXM/vllm 0.9/Llama-3.1-8B")
    assert found.pass_s == pytest.approx(6e-3)
    assert found.stream == pytest.approx(0.4)


def test_a_version_with_few_results_is_as_its_kind_and_its_model() -> None:
    assert KNOWN.find(KIND, "H100-SXM/vllm 0.10/Llama-3.1-8B").pass_s == 3e-3


def test_a_version_of_which_nothing_is_known_is_as_its_kind() -> None:
    assert KNOWN.find(KIND, "H100-SXM/vllm 0.11/Llama-3.1-8B") == USUAL


def test_no_number_is_out_of_bounds_for_a_known_model_in_any_known_version() -> None:
    known = serving_calibration()
    assert known.models
    for model in known.models:
        generation, stack, name = model.split("/")
        for kind in known.fitted:
            if (kind.generation, kind.stack) == (generation, stack):
                for version in known.versions:
                    _within_bounds(known.find(kind, f"{version}/{name}"))


def _within_bounds(found: ServingCalibration) -> None:
    for name, (low, high) in SERVING_BOUNDS.items():
        assert low * 0.999 <= getattr(found, name) <= high * 1.001
