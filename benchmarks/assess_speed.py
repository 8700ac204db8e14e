"""How long does an assessment take? A tree of 1,000,000 lines, first and again, on two processors.

    python benchmarks/assess_speed.py [--write]

The tree is made of the Python files of this environment, copied as often as needed, each copy with
a comment of its own so that no two files are the same. The first run begins without a cache; before
each further run one file changes. Every run is the command in a process of its own; its memory is
that of all its processes together, looked at twenty times a second. `--write` puts the table into
benchmarks/assess_speed.md.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

RESULT = Path(__file__).with_suffix(".md")
LINES = 1_000_000
ROUNDS = 5
FIRST_AT_MOST_S, AGAIN_AT_MOST_S, MEMORY_AT_MOST_MB = 60.0, 3.0, 1500.0


def make_tree(root: Path) -> tuple[int, int]:
    """Write the tree; give its files and lines."""
    files = lines = number = 0
    while lines < LINES:
        for source in sources():
            text = source.read_bytes() + b"\n# copy %d\n" % number
            target = root / str(number) / source.relative_to(sysconfig.get_path("purelib"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
            files, lines = files + 1, lines + text.count(b"\n")
            if lines >= LINES:
                break
        number += 1
    return files, lines


def sources() -> Iterator[Path]:
    """PyTorch first: nothing names CUDA as often."""
    packages = Path(sysconfig.get_path("purelib"))
    yield from sorted((packages / "torch").rglob("*.py"))
    yield from sorted(p for p in packages.rglob("*.py") if packages / "torch" not in p.parents)


def run(root: Path, cache: Path) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of processors, and megabytes of one assessment."""
    command = [
        sys.executable,
        "-m",
        "cordee",
        "assess",
        str(root),
        "--jobs",
        "2",
        "--format",
        "json",
    ]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    before, begin = _busy_s(), time.perf_counter()
    peak_mb = 0.0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak_mb = max(peak_mb, sum(map(_resident_mb, _family(process.pid))))
            time.sleep(0.05)
    spent_s = time.perf_counter() - begin
    if process.returncode != 1:
        raise RuntimeError(f"assess ended with {process.returncode}")
    return spent_s, _busy_s() - before, peak_mb


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident_mb(pid: int) -> float:
    """A process's own share of its memory; pages that two share count half for each."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(rollup.partition("Pss:")[2].split()[0]) / 1024


def _busy_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table() -> str:
    """The measurements as a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "tree", Path(folder) / "cache"
        files, lines = make_tree(root)
        first_s, first_busy_s, first_mb = run(root, cache)
        again = []
        changing = root / "0" / "torch" / "serialization.py"
        for number in range(ROUNDS):
            changing.write_bytes(changing.read_bytes() + b"# changed %d\n" % number)
            again.append(run(root, cache))
    again_s, again_busy_s, again_mb = (statistics.median(each) for each in zip(*again, strict=True))
    load = os.getloadavg()[0]
    return "\n".join(
        [
            f"{lines:,} lines in {files:,} files; {len(os.sched_getaffinity(0))} processors, on "
            f"which other work ran (load {load:.0f}). `cordee assess --jobs 2`; of the runs after "
            f"a change the median of {ROUNDS}. "
            "Written by `python benchmarks/assess_speed.py --write`.",
            "",
            "| run | by the clock | limit | of processors | memory | limit |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            f"| first | {first_s:.1f} s | {FIRST_AT_MOST_S:.0f} s | {first_busy_s:.1f} s "
            f"| {first_mb:.0f} MB | {MEMORY_AT_MOST_MB:.0f} MB |",
            f"| after one file changed | {again_s:.1f} s | {AGAIN_AT_MOST_S:.0f} s "
            f"| {again_busy_s:.1f} s | {again_mb:.0f} MB | {MEMORY_AT_MOST_MB:.0f} MB |",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table beside this script")
    arguments = parser.parse_args()
    text = table()
    print(text)
    if arguments.write:
        RESULT.write_text(f"# Speed of an assessment\n\n{text}")


if __name__ == "__main__":
    main()
