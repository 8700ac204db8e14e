"""Small models of every family with the logits that transformers gives, made once for a run of tests."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of model folders, each with reference.npz beside its weights."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("reference.py")), str(folder)],
        check=True,
        timeout=300,
    )
    return folder
