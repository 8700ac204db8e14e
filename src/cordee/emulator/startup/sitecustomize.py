"""What every Python process of `cordee run` begins with: it waits for torch and torch_npu to be imported.

PyTorch's autoload hook finds the virtual chip where a program imports torch. Where it imports
torch_npu first, the adapter switches that hook off; this one then takes its place. `cordee run` puts
this folder, and nothing else, before the program's PYTHONPATH.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


class Hook:
    """A finder that finds torch and torch_npu as Python does, and has the virtual chip follow the adapter's import."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What Python finds by itself; None leaves the search to it."""
        if name not in ("torch", "torch_npu"):
            return None
        if find_spec("cordee") is None:
            raise ImportError(
                f"{sys.executable} runs under `cordee run` and has no cordee of its own: "
                f"{sys.executable} -m pip install 'cordee[emulator]'"
            )
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            _follow(name, spec.loader)
        return spec


def _follow(name: str, loader: Loader) -> None:
    """Have what we want done where the loader carries its module out."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        from cordee.core.imports import kept

        with kept():
            execute(module)
            if name == "torch_npu":
                from cordee.emulator import session

                session.autoload()

    loader.exec_module = exec_module  # type: ignore[method-assign]


def _hand_over() -> None:
    """Leave no trace on the path, and begin with what the program's own environment begins with."""
    here = str(Path(__file__).parent)
    sys.path[:] = [place for place in sys.path if place != here]
    ours = sys.modules.pop(__name__)
    try:
        import_module(__name__)
    except ModuleNotFoundError as error:
        sys.modules[__name__] = ours
        if error.name != __name__:
            raise


sys.meta_path.insert(0, Hook)
_hand_over()
