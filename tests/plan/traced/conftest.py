"""Traces that several tests read."""

from pathlib import Path

import pytest
from tests.plan.traced.programs import gpt, traced


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpt(tmp_path_factory.mktemp("gpt"), 2)


@pytest.fixture(scope="session")
def two_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = Path(__file__).with_name("two_stages.py")
    words = ("torchrun", "--nproc-per-node", "4", str(program))
    return traced(tmp_path_factory.mktemp("stages"), *words, options=("--chips", "4"))
