"""Do public programs that were written for CUDA run on Ascend, once their repository is ported?

    python benchmarks/ported_repositories.py --checkouts FOLDER [--only NAME ...] [--write]

FOLDER holds clones, each under the name of its repository: git gives the commit. Of each the tracked
files are copied, data and weights made beside them (ported_repositories/made.py), the copy ported by
`cordee port`, and the program of ported_repositories/programs.toml run in the port, on a virtual
chip and on the CPU (`--prove`). A `patch` is what a person changed before, and `why`.
What the programs import has to be installed beside cordee. `--write` keeps each proof in
ported_repositories/proofs and writes benchmarks/ported_repositories.md of them; with `--only` those of
the other programs stay as they are.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_suffix(".md")
PARTS = RESULT.with_suffix("")
PROOFS = PARTS / "proofs"
LIMIT_S = 600
HEAD = """# Public programs, ported

Written by `python benchmarks/ported_repositories.py --checkouts FOLDER --write`. Each repository was
ported by `cordee port` and changed in no other way, but where a patch is named, and its own program run in the port on one virtual
chip and on the CPU. Models are small, weights random, data made on the spot; torch {torch}.

"left" is what the port reports for a person to see to; "chip" and "CPU" are how the program ended, 0 where
it ended well; losses are the first and the last of each that it printed; "difference" is the largest of any
step of any loss, over its value; "lines" are the printed ones that are the same on both, numbers aside. A
program that draws random numbers on the chip has other losses there, for the CPU draws others.

| program | ties rewritten, left | chip | CPU | losses on the chip | on the CPU | difference | lines | operators on the chip |
| --- | --- | --- | --- | --- | --- | ---: | ---: | ---: |
"""


class PortFailed(Exception):
    """`cordee port` did not answer."""


def prove(program: dict[str, Any], checkouts: Path) -> dict[str, Any]:
    """Port the repository and run the program; give the proof, as JSON has it."""
    repository = checkouts / program["repository"].partition("/")[2]
    commit = _git(repository, "rev-parse", "HEAD").decode().strip()
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        folder = program.get("folder", "")
        _write_tree(repository, tree)
        _make(program["made"], tree / folder)
        if "patch" in program:
            patch = (PARTS / program["patch"]).read_bytes()
            subprocess.run(["git", "apply", "-"], cwd=tree, input=patch, check=True)
        command = [
            *(sys.executable, "-m", "cordee", "port", str(tree / folder)),
            *("-o", str(Path(scratch) / "port"), "--limit", str(LIMIT_S)),
            *("--prove", program["command"], "--json", *program.get("options", [])),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    try:
        ported = json.loads(done.stdout)
    except ValueError:
        raise PortFailed(f"{_name(program)}: the port ended with {done.returncode}") from None
    left = sum(1 for finding in ported["left"] if finding["state"] == "left")
    del ported["proof"]["ran"]  # a long table
    kept = {
        "name": _name(program),
        "commit": commit,
        "rewritten": len(ported["made"]),
        "left": left,
    }
    return kept | ported["proof"] | {"printed": _printed(ported["proof"])}


def _printed(proof: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """The first and the last of each loss that a run printed."""
    from cordee.port.prove.losses import losses

    return {
        run: {name: [of[0], of[-1]] for name, of in losses(proof[run]["output"]).items()}
        for run in ("chip", "cpu")
        if proof[run] is not None
    }


def _write_tree(repository: Path, tree: Path) -> None:
    """Write its tracked files; a clone that was fetched in part has not all of them."""
    excluded = [f":(exclude,literal){path}" for path in _absent(repository)]
    packed = _git(repository, "archive", "HEAD", "--", ".", *excluded)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")


def _absent(repository: Path) -> list[str]:
    """Tracked files whose content the clone does not hold."""
    listed = _git(repository, "ls-tree", "-r", "-z", "HEAD").decode().split("\0")[:-1]
    blobs = [(line.split()[2], line.partition("\t")[2]) for line in listed if " blob " in line]
    asked = "".join(f"{blob}\n" for blob, _ in blobs).encode()
    answers = _git(repository, "cat-file", "--batch-check", given=asked).decode().splitlines()
    return [path for (_, path), said in zip(blobs, answers, strict=True) if "missing" in said]


def _make(kinds: list[str], folder: Path) -> None:
    if kinds:
        without_chip = os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
        command = [sys.executable, str(PARTS / "made.py"), *kinds]
        subprocess.run(command, cwd=folder, env=without_chip, check=True)


def _git(repository: Path, *words: str, given: bytes = b"") -> bytes:
    command = ["git", "-C", str(repository), *words]
    return subprocess.run(command, check=True, capture_output=True, input=given).stdout


def _name(program: dict[str, Any]) -> str:
    return "/".join(filter(None, (program["repository"], program.get("folder", ""))))


def page(programs: list[dict[str, Any]]) -> str:
    """What the kept proofs say, as Markdown."""
    shown = [(program, proof) for program in programs if (proof := _kept(program)) is not None]
    rows = "\n".join(_row(program, proof) for program, proof in shown)
    sections = "\n".join("\n".join(_section(program, proof)) for program, proof in shown)
    from importlib.metadata import version

    return f"{HEAD.format(torch=version('torch'))}{rows}\n\n{sections}"


def _kept(program: dict[str, Any]) -> dict[str, Any] | None:
    file = _file(program)
    return json.loads(file.read_bytes()) if file.is_file() else None


def _file(program: dict[str, Any]) -> Path:
    return PROOFS / f"{_name(program).replace('/', '+')}.json"


def _row(program: dict[str, Any], proof: dict[str, Any]) -> str:
    losses = proof["losses"]
    worst = max((_number(loss["difference"]) for loss in losses), default=None)
    lines = proof["lines"]
    cells = (
        f"[{_name(program)}](https://github.com/{program['repository']}/tree/{proof['commit']}) "
        f"`{proof['commit'][:7]}`: {program['does']}",
        f"{proof['rewritten']}, {proof['left']}",
        _ended(proof["chip"]),
        _ended(proof["cpu"]),
        _ends(proof, "chip"),
        _ends(proof, "cpu"),
        "" if worst is None else "none" if worst == 0 else f"{worst:.1e}",
        f"{lines['same']} of {lines['lines']}" if lines else "",
        f"{proof['operators']:,}",
    )
    return f"| {' | '.join(cells)} |"


def _ended(run: dict[str, Any] | None) -> str:
    if run is None:
        return "not run"
    code = run["exit_code"]
    return "ran past its limit" if code is None else "0" if code == 0 else f"{code}"


def _ends(proof: dict[str, Any], run: str) -> str:
    printed = proof["printed"].get(run, {}).items()
    return "; ".join(f"{name} {first:.5g} to {last:.5g}" for name, (first, last) in printed)


def _number(value: float | str) -> float:
    return float(value)


def _section(program: dict[str, Any], proof: dict[str, Any]) -> Iterator[str]:
    options = "".join(f" {option}" for option in program.get("options", []))
    yield f"## {_name(program)}\n"
    yield f"```\ncordee port .{options} --prove '{program['command']}'\n```\n"
    if "patch" in program:
        patch = f"[{program['patch']}](ported_repositories/{program['patch']})"
        yield f"Changed by hand before the port, {patch}: {program['why']}.\n"
    yield f"{proof['verdict']}\n"
    for loss in proof["losses"]:
        yield f"- {loss['name']}: {len(loss['chip'])} values, largest difference {_number(loss['difference']):.1e}"
    for file in proof["tensors"]:
        found = file["problem"] or f"largest difference {_number(file['difference']):.1e}"
        yield f"- {file['path']}: {file['tensors']} tensors, {found}"
    for note in proof["notes"]:
        yield f"- {note}"
    for each in proof["fallbacks"]:
        where = f" at {', '.join(each['sites'])}" if each["sites"] else ""
        yield f"- {each['operator']}: {each['support']}, {each['calls']} calls{where}"
    if not proof["fallbacks"] and proof["operators"]:
        yield "- no operator runs on the host of a real chip"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkouts", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--write", action="store_true", help="keep the proofs and write the table")
    arguments = parser.parse_args()
    programs = tomllib.loads((PARTS / "programs.toml").read_text())["program"]
    for program in programs:
        if arguments.only and not any(only in _name(program) for only in arguments.only):
            continue
        try:
            proof = prove(program, arguments.checkouts.resolve())
        except PortFailed as failed:
            print(failed, file=sys.stderr)
            continue
        if arguments.write:
            PROOFS.mkdir(exist_ok=True)
            for run in filter(None, (proof["chip"], proof["cpu"])):
                run["output"] = "\n".join(run["output"].splitlines()[-20:])
            _file(program).write_text(json.dumps(proof, indent=1) + "\n")
            RESULT.write_text(page(programs))


if __name__ == "__main__":
    main()
