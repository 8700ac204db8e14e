"""The tables of names say what the wheels hold, and nothing that is not there."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.port import names
from cordee.port.names import covered, offered, parameters, versions

ROOT = Path(__file__).parents[2]
PAIR = "2.13"  # the versions that the emulator, and so the last test, runs

# Bound where torch is built with the library of that name.
OF_A_BUILD = (
    *(f"torch.distributed.ProcessGroup{library}" for library in ("MPI", "NCCL", "UCC", "XCCL")),
    "torch.cuda._amdsmi_cdll_hook",
)

EVERYWHERE = [
    "torch.npu.empty_cache",
    "torch.npu.current_stream",
    "torch.npu.Event",
    "torch.npu.amp.GradScaler",
    "torch.npu.amp.autocast_mode.autocast",
    "torch.npu.memory._record_memory_history",
    "torch.npu.mstx.range_start",
    "torch.npu.FloatTensor",
    "torch_npu.npu_fusion_attention",
    "torch_npu.npu_rms_norm",
    "torch_npu.optim.NpuFusedAdamW",
    "torch_npu.contrib.module.LinearWeightQuant",
    "torch_npu.profiler.ProfilerLevel.Level0",
    "torch_npu._npu_paged_attention",
    "torch.accelerator.current_accelerator",
    "torch.amp.GradScaler",
    "torch.get_device_module",
    "torch.get_autocast_dtype",
    "torch.nn.attention.SDPBackend.FLASH_ATTENTION",
    "torch.nn.functional.scaled_dot_product_attention",
    "torch.profiler.ProfilerActivity.PrivateUse1",
    "torch.distributed.get_default_backend_for_device",
    "torch.cuda.CUDAGraph",
    "torch.cuda.nvtx.range_push",
]

NOWHERE = [
    "torch.npu.nvtx",
    "torch.npu.CUDAGraph",
    "torch.npu.nccl",
    "torch.npu.cudart",
    "torch.npu.get_arch_list",
    "torch.npu.os",  # a module that torch_npu imports for itself
    "torch_npu.contrib.fuse_add_softmax_dropout",  # in __all__, but never bound
    "torch.accelerator.manual_seed_everywhere",
]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_lasting_name_is_in_every_version(name: str) -> None:
    assert [version for version in versions() if not offered(name, version)] == []


@pytest.mark.parametrize("name", NOWHERE)
def test_a_name_that_nobody_defines_is_in_no_version(name: str) -> None:
    assert [version for version in versions() if offered(name, version)] == []
    assert covered(name)


@pytest.mark.parametrize(
    ("name", "last_without", "first_with"),
    [
        ("torch.accelerator.device_index", "2.7", "2.8"),
        ("torch.accelerator.empty_cache", "2.8", "2.9"),
        ("torch.accelerator.get_memory_info", "2.9", "2.10"),
        ("torch.accelerator.Graph", "2.11", "2.12"),
        ("torch_npu.npu_fusion_attention_v3", "2.6", "2.7"),
    ],
)
def test_a_later_name_is_not_in_earlier_versions(
    name: str, last_without: str, first_with: str
) -> None:
    assert not offered(name, last_without)
    assert offered(name, first_with)


def test_a_name_has_the_parameters_of_its_version() -> None:
    assert parameters("torch.accelerator.current_accelerator", "2.6") == ()
    assert parameters("torch.accelerator.current_accelerator", "2.7") == ("check_available",)
    assert parameters("torch.npu.get_device_name", PAIR) == ("device_name",)
    assert parameters("torch.cuda.get_device_name", PAIR) == ("device",)
    attention = parameters("torch_npu.npu_fusion_attention", PAIR) or ()
    assert attention[:5] == ("query", "key", "value", "head_num", "input_layout")
    assert parameters("torch.npu.mstx", PAIR) != ()
    assert parameters("torch.npu.nvtx", PAIR) is None


def test_a_name_is_known_under_each_of_its_spellings() -> None:
    assert offered("torch_npu.npu.empty_cache", "2.6")
    assert offered("torch.ops.npu.npu_rms_norm", "2.6")


def test_a_name_of_another_module_is_not_covered() -> None:
    assert not covered("torch.nn.Linear")
    assert not covered("torch.distributed.tensor.DTensor")
    assert not covered("torch.npu.Event.record")
    assert not offered("torch.nn.Linear", PAIR)


def test_a_release_counts_as_its_minor_version() -> None:
    assert offered("torch.npu.empty_cache", "2.10.0.post7")


@pytest.mark.parametrize("version", ["2.5", "3.0.1", "two", "2"])
def test_a_version_without_a_table_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match="version"):
        offered("torch.npu.empty_cache", version)


def test_the_tables_load_at_once_and_without_torch() -> None:
    program = (
        "import sys, time; from cordee.port import names; began = time.process_time()\n"
        "names.offered('torch.npu.empty_cache', '2.6')\n"
        "assert not {'torch', 'torch_npu', 'numpy'} & set(sys.modules)\n"
        "print(time.process_time() - began)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 0.3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch_npu") is None, reason="needs torch_npu")
def test_every_name_said_to_be_offered_is_there(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import importlib.util, json, sys, torch, torch_npu\n"
        "def there(name):\n"
        "    parts = name.split('.')\n"
        "    found = sys.modules[parts[0]]\n"
        "    for number, part in enumerate(parts[1:], start=2):\n"
        "        if not hasattr(found, part):\n"
        "            module = '.'.join(parts[:number])\n"
        "            if not hasattr(found, '__path__'): return False\n"
        "            if importlib.util.find_spec(module) is None: return False\n"
        "            if number == len(parts): return True\n"
        "            importlib.import_module(module)\n"
        "        found = getattr(found, part)\n"
        "    return True\n"
        "names = json.load(sys.stdin)\n"
        "print(json.dumps([name for name in names if not there(name)]))\n"
    )
    said = [
        name
        for name in sorted(names._tables()[1])
        if offered(name, PAIR)
        # To import it changes torch for the whole process.
        and not name.startswith("torch_npu.contrib.transfer_to_npu")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "cordee", "run", "--", "python", str(program)],
        input=json.dumps(said),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in missing if not name.startswith(OF_A_BUILD)] == []
