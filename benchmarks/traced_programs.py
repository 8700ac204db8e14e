"""How near is `cordee plan program` to what programs in plain PyTorch took on A100?

`python benchmarks/traced_programs.py` traces each with few layers on a virtual chip, asks for all layers, and writes
what it predicts beside what was published.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
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

GPT-2: mean error {error:.0%}.
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
        "Llama 2 7B, a token for one reader", ("llama.py",), 32, "A100-80-SXM", 1 / 25.5,
        "pytorch.org/blog/accelerating-generative-ai-2",
    ),
)  # fmt: skip


def main() -> None:
    """Trace, predict, write."""
    lines, errors = [], []
    with TemporaryDirectory() as folder:
        for number, one in enumerate(ROWS):
            trace = Path(folder) / f"{number}.trace"
            _trace(one, trace)
            found = program(trace, one.chip, layers=one.layers, tf32=one.tf32).outcomes[0]
            seconds = found.seconds
            if found.first_pass_s is not None:
                seconds = (found.seconds - found.first_pass_s) / (found.asked.cut.passes - 1)
            else:
                errors.append(abs(seconds / one.seconds - 1))
            lines.append(
                f"| {one.name} | {one.chip} | {one.seconds * 1e3:.1f} ms | {seconds * 1e3:.1f} ms | "
                f"{seconds / one.seconds - 1:+.0%} | {found.bottleneck} | {one.source} |"
            )
    error = sum(errors) / len(errors)
    text = TEXT.format(traced=TRACED, rows="\n".join(lines), error=error)
    (HERE / "traced_programs.md").write_text(text, "utf-8")
    print(text)


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
