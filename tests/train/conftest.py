"""What jobs are compared with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk with no room."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted: that is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
