"""What the doctor says of computers that lack something."""

from pathlib import Path

import pytest

from cordee.emulator.doctor import Finding, examine
from cordee.emulator.host import Host


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cc", "c++"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    (tmp_path / "dev/shm").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 32000000 kB\nMemAvailable: 16000000 kB\n")
    install(tmp_path, "torch", "2.13.0+cpu")
    install(
        tmp_path, "torch_npu", "2.13.0", entry_points="[torch.backends]\ntorch_npu = torch_npu:x"
    )
    return tmp_path


def install(
    root: Path, name: str, version: str, *, needs: str = "", entry_points: str = ""
) -> None:
    for old in root.glob(f"site/{name}-*"):
        old.rename(root / f"removed-{old.name}")
    metadata = root / "site" / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (metadata / "METADATA").write_text(text + (f"Requires-Dist: {needs}\n" if needs else ""))
    (metadata / "entry_points.txt").write_text(entry_points)


def findings(root: Path, **changes: object) -> dict[str, Finding]:
    environment = {"PATH": str(root / "bin"), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    facts = {
        "python": (3, 11, 7),
        "system": "Linux",
        "architecture": "x86_64",
        "environment": environment,
        "root": root,
        "site_packages": [str(root / "site")],
    }
    return {found.subject: found for found in examine(Host(**(facts | changes)))}


def problems(found: dict[str, Finding]) -> list[str]:
    return [subject for subject, finding in found.items() if finding.state == "problem"]


def test_nothing_is_in_the_way_of_a_complete_computer(root: Path) -> None:
    assert not problems(findings(root))


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"python": (3, 10, 2)}, "Python"),
        ({"system": "Darwin"}, "system"),
        ({"architecture": "riscv64"}, "system"),
        ({"environment": {"PATH": ""}}, "C++ compiler"),
    ],
)
def test_what_is_missing_is_a_problem_with_a_way_out(
    root: Path, changes: dict[str, object], subject: str
) -> None:
    found = findings(root, **changes)[subject]
    assert found.state == "problem"
    assert found.advice


def test_an_adapter_of_another_version_is_a_problem(root: Path) -> None:
    install(root, "torch_npu", "2.9.0")
    assert problems(findings(root)) == ["torch_npu"]


def test_a_torch_of_another_version_does_not_go_with_the_adapter(root: Path) -> None:
    install(root, "torch", "2.12.1")
    found = findings(root)
    assert problems(found) == ["torch", "torch_npu"]
    assert "2.12.1" in found["torch_npu"].found


def test_a_patched_adapter_goes_with_its_torch(root: Path) -> None:
    install(root, "torch_npu", "2.13.0.post2")
    assert findings(root)["torch_npu"].state == "ok"


def test_packages_that_are_not_there_are_named(root: Path) -> None:
    found = findings(root, site_packages=[str(root / "nowhere")])
    assert problems(found) == ["torch", "torch_npu"]


def test_a_torch_for_cuda_works_but_is_pointed_out(root: Path) -> None:
    install(root, "torch", "2.13.0", needs='nvidia-cublas==13.1; platform_system == "Linux"')
    found = findings(root)["torch"]
    assert found.state == "warning"
    assert "CUDA" in found.found


def test_importing_torch_would_fail_where_the_adapter_loads_without_cann(root: Path) -> None:
    loading = {"environment": {"PATH": str(root / "bin")}}
    assert findings(root, **loading)["import torch"].state == "warning"
    assert findings(root)["import torch"].state == "ok"
    (root / "usr/local/Ascend").mkdir(parents=True)
    assert findings(root, **loading)["import torch"].state == "ok"


def test_real_chips_without_their_software_are_pointed_out(root: Path) -> None:
    (root / "dev/davinci0").touch()
    (root / "dev/davinci_manager").touch()
    found = findings(root)["real chips"]
    assert (found.state, found.found) == ("warning", "davinci0")


def test_little_memory_is_a_warning(root: Path) -> None:
    (root / "proc/meminfo").write_text("MemAvailable: 1000000 kB\n")
    found = findings(root)["memory"]
    assert (found.state, found.found) == ("warning", "1.0 GB free")


def test_a_computer_without_shared_memory_is_a_problem(root: Path) -> None:
    (root / "dev/shm").rmdir()
    assert problems(findings(root)) == ["/dev/shm"]
