"""Draw docs/images/first-result.svg: the example's losses on the CPU and on a virtual Ascend."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/first-result.svg"
TRAIN = ["examples/nvidia_gpt/train.py", "--steps", "100", "--warmup", "10", "--dtype", "float32"]
SMALL = ["--layers", "2", "--width", "128", "--heads", "4", "--block-size", "64", "--dropout", "0"]
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 300, 48, 40


def losses(*command: str) -> list[float]:
    """The loss of every step that `command` prints."""
    environment = os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return [float(line.split()[3]) for line in done.stdout.splitlines() if line.startswith("step ")]


def picture(cpu: list[float], chip: list[float]) -> str:
    """An SVG with a broad line for the CPU and a dashed one for the chip upon it."""
    low, high = min(cpu + chip), max(cpu + chip)

    def points(values: list[float]) -> str:
        across = (WIDTH - LEFT - 16) / (len(values) - 1)
        down = (HEIGHT - BOTTOM - 24) / (high - low)
        return " ".join(
            f"{LEFT + i * across:.1f},{24 + (high - v) * down:.1f}" for i, v in enumerate(values)
        )

    worst = max(abs(a - b) / abs(a) for a, b in zip(cpu, chip, strict=True))
    text = 'font-family="sans-serif" font-size="13" fill="#444"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<polyline points="{points(cpu)}" fill="none" stroke="#9ec5fe" stroke-width="7"/>',
            f'<polyline points="{points(chip)}" fill="none" stroke="#c1121f" stroke-width="2" '
            'stroke-dasharray="6 4"/>',
            f'<text x="8" y="30" {text}>{high:.1f}</text>',
            f'<text x="8" y="{HEIGHT - BOTTOM}" {text}>{low:.1f}</text>',
            f'<text x="{LEFT}" y="{HEIGHT - 14}" {text}>loss of a GPT written for CUDA, '
            f"{len(cpu)} steps in float32; largest relative difference {worst:.0e}</text>",
            f'<text x="{WIDTH - 230}" y="44" {text}>broad: PyTorch on the CPU</text>',
            f'<text x="{WIDTH - 230}" y="64" {text}>dashed: torch_npu, virtual Ascend</text>',
            "</svg>",
            "",
        ]
    )


def main() -> None:
    cpu = losses(sys.executable, *TRAIN, *SMALL, "--device", "cpu")
    chip = losses(
        *(sys.executable, "-m", "cordee", "run", "--from-cuda", "--"), "python", *TRAIN, *SMALL
    )
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture(cpu, chip), "utf-8")


if __name__ == "__main__":
    main()
