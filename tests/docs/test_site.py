"""Is the site of docs/ built without a warning, and current where it is made from code?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools.measured import READMES, written

ROOT = Path(__file__).parents[2]


def test_the_site_is_built_and_every_warning_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text("utf-8")
    assert 'src="http' not in page  # it opens without a network
    assert (tmp_path / "tutorials" / "port.html").exists()


@pytest.mark.parametrize("name", READMES)
def test_the_table_of_what_was_measured_is_that_of_the_benchmarks(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == written(name)
