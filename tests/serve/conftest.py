"""A small model folder for all tests of serving."""

from pathlib import Path

import pytest
from tests.serve.models import write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("served") / "small")
