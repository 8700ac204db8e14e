"""How near is `cordee plan program` to what programs in plain PyTorch took on A100?

`python benchmarks/traced_programs.py` traces each with few layers on a virtual chip, asks for all layers, and writes
what it predicts beside what was published.
"""

import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from cordee.plan import program

HERE = Path(__file__).parent
TEXT = """# Traced programs against published steps

Programs in plain PyTorch, one kernel for each operator, traced on a virtual chip with {traced} layers (`cordee run --shapes
--trace`) and asked for all of them on the chip on which their authors measured them (`cordee plan program --layers`). Two numbers were chosen on these rows: that kernels of
PyTorch's own take 1.5 times as long as their traffic would, on the four of GPT-2; that the host takes 24 us for an operator, on the last.
So they say what the predictions are like on programs of this kind, and not on others. `python benchmarks/traced_programs.py` writes this page.

| program | on | published | predicted | off | where the time goes | source |
|---|---|---|---|---|---|---|
{rows}

GPT-2 as it is: mean error {eager:.0%}. Compiled: {compiled:.0%}, by "with kernels fused", where every kernel between two products is taken to be one;
nothing was chosen on those rows.
"""
TRACED = 2


@dataclass(frozen=True)
class Published:
    """A step, or a token, as somebody measured it."""

    name: str
    command: tuple[str, ...]
    layers: int
    chip: str
    seconds: float
    source: str
    tf32: bool = False
    compiled: bool = False


VIDEO = "A. Karpathy, Let's reproduce GPT-2 (124M), 2024, section 2"
ROWS = (
    Published(
        "GPT-2 124M, 12 sequences of 1,024, bf16", ("gpt2.py", "--batch", "12", "--autocast"), 12, "A100-40-SXM", 0.250,
        "github.com/karpathy/nanoGPT README, efficiency notes",
    ),
    Published(
        "GPT-2 124M, 16 sequences, bf16", ("gpt2.py", "--batch", "16", "--autocast"), 12, "A100-80-SXM", 0.300, VIDEO,
    ),
    Published(
        "GPT-2 124M, 16 sequences, TF32", ("gpt2.py", "--batch", "16"), 12, "A100-80-SXM", 0.333, VIDEO, tf32=True,
    ),
    Published(
        "GPT-2 124M, 4 sequences, TF32", ("gpt2.py", "--batch", "4"), 12, "A100-40-SXM", 0.080,
        "A. Karpathy on llm.c, April 2024", tf32=True,
    ),
    Published(
        "GPT-2 124M, 12 sequences, bf16, torch.compile", ("gpt2.py", "--batch", "12", "--autocast"), 12, "A100-40-SXM", 0.135,
        "github.com/karpathy/nanoGPT README, efficiency notes", compiled=True,
    ),
    Published(
        "GPT-2 124M, 16 sequences, bf16, torch.compile", ("gpt2.py", "--batch", "16", "--autocast"), 12, "A100-80-SXM", 0.130,
        VIDEO, compiled=True,
    ),
    Published(
        "GPT-2 124M, 16 sequences, bf16, torch.compile, fused attention", ("gpt2.py", "--batch", "16", "--autocast", "--flash"), 12,
        "A100-80-SXM", 0.093, VIDEO, compiled=True,
    ),
    Published(
        "Llama 2 7B, a token for one reader", ("llama.py",), 32, "A100-80-SXM", 1 / 25.5,
        "pytorch.org/blog/accelerating-generative-ai-2",
    ),
)  # fmt: skip


def main() -> None:
    """Trace, predict, write."""
    traces: dict[tuple[str, ...], Path] = {}
    lines, errors = [], defaultdict(list)
    with TemporaryDirectory() as folder:
        for one in ROWS:
            if one.command not in traces:
                traces[one.command] = Path(folder) / f"{len(traces)}.trace"
                _trace(one, traces[one.command])
            seconds, most = _predicted(one, traces[one.command])
            errors[one.command[0], one.compiled].append(abs(seconds / one.seconds - 1))
            lines.append(
                f"| {one.name} | {one.chip} | {one.seconds * 1e3:.1f} ms | {seconds * 1e3:.1f} ms | "
                f"{seconds / one.seconds - 1:+.0%} | {most} | {one.source} |"
            )
    eager, compiled = (fmean(errors["gpt2.py", is_compiled]) for is_compiled in (False, True))
    text = TEXT.format(traced=TRACED, rows="\n".join(lines), eager=eager, compiled=compiled)
    (HERE / "traced_programs.md").write_text(text, "utf-8")
    print(text)


def _predicted(one: Published, trace: Path) -> tuple[float, str]:
    found = program(trace, one.chip, layers=one.layers, tf32=one.tf32).outcomes[0]
    if one.compiled:
        return found.fused_s, "kernels fused"
    if found.first_pass_s is None:
        return found.seconds, found.bottleneck
    later = found.seconds - found.first_pass_s
    return later / (found.asked.cut.passes - 1), found.bottleneck


def _trace(one: Published, trace: Path) -> None:
    script, *rest = one.command
    words = [
        sys.executable,
        "-m",
        "cordee",
        "run",
        "--shapes",
        "--from-cuda",
        "--trace",
        str(trace),
        "--",
    ]
    program_ = [str(HERE / "traced_programs" / script), "--layers", str(TRACED), *rest]
    subprocess.run([*words, "python", *program_], check=True, capture_output=True)


if __name__ == "__main__":
    main()
