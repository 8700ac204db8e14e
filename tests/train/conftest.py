"""What jobs are compared with."""

import os
import subprocess
import sys

import pytest
from tests.train.jobs import SMALL


@pytest.fixture(scope="session")
def undisturbed() -> str:
    """The digest of the parameters after an uninterrupted run of one process, without a launcher."""
    done = subprocess.run(
        [sys.executable, str(SMALL)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
    )
    return done.stdout.split()[-1]
