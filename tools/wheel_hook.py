"""Puts the compiled libraries of the virtual chip into a wheel, where CORDEE_PREBUILD=1 asks for it.

Torch and torch_npu have to be installed where the wheel is made, so without a build environment of its own:
`CORDEE_PREBUILD=1 python -m build --wheel --no-isolation`. Without it the wheel is for any system, and the
libraries are compiled on first use.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILE = """
from pathlib import Path
from cordee.emulator import build, prebuilt
print(build.libraries())
print(prebuilt.stamp(build._package("torch"), build._package("torch_npu")))
"""


class PrebuiltLibraries(BuildHookInterface):  # type: ignore[type-arg]
    """The hook of hatchling."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if (
            self.target_name != "wheel"
            or version == "editable"
            or not os.environ.get("CORDEE_PREBUILD")
        ):
            return
        root = Path(self.root)
        environment = os.environ | {
            "PYTHONPATH": str(root / "src"),
            "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        }
        command = [sys.executable, "-c", COMPILE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the libraries cannot be compiled:\n{done.stderr}")
        libraries, stamp = done.stdout.split()
        made = root / "build" / "prebuilt"
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(libraries, made / "lib")
        (made / "stamp").write_text(stamp)
        for place in Path(libraries).parent.iterdir():  # folders of CANN that the adapter looks for
            if place.is_dir() and place.name != "lib":
                (made / place.name).mkdir()
                (made / place.name / ".keep").touch()
        build_data["force_include"][str(made)] = "cordee/emulator/prebuilt"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
