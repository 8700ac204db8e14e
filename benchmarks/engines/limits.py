"""What the machine can do: `python limits.py THREADS BYTES...` reads so much memory, and multiplies, by PyTorch.

Prints bytes read per second for each size, and multiplications per second of matrices in bfloat16 and int8. Each is
the best of many tries: a limit is what is possible.
"""

import json
import os
import sys
import time
from collections.abc import Callable

os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"  # no chip is needed here

import torch

ROWS, INPUTS, OUTPUTS = 256, 1024, 3072
TRIES_S = 2.0


def best_s(work: Callable[[], object]) -> float:
    work()
    least, until = float("inf"), time.perf_counter() + TRIES_S
    while time.perf_counter() < until:
        begin = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - begin)
    return least


def main(threads: int, sizes: list[int]) -> None:
    torch.set_num_threads(threads)
    told: dict[str, object] = {}
    told["read"] = {}
    for size in sizes:
        memory = torch.zeros(size // 4)
        told["read"][size] = size / best_s(memory.sum)
    x, w = torch.randn(ROWS, INPUTS).bfloat16(), torch.randn(OUTPUTS, INPUTS).bfloat16()
    count = ROWS * INPUTS * OUTPUTS
    told["bfloat16"] = count / best_s(lambda: torch.nn.functional.linear(x, w))
    xi, wi = (torch.randint(-127, 128, t.shape, dtype=torch.int8) for t in (x, w.t()))
    told["int8"] = count / best_s(lambda: torch._int_mm(xi, wi))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])
