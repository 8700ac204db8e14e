"""OpenVINO GenAI: `python openvino_peer.py FILE.gguf STREAMS,... TOKENS THREADS`, continuous batching."""

import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai

PROMPT = 64


def main(file: str, counts: list[int], tokens: int, threads: int) -> None:
    began = time.perf_counter()
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 2
    scheduler.max_num_batched_tokens = 512
    pipe = genai.LLMPipeline(file, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=threads)
    start_s = time.perf_counter() - began
    config = genai.GenerationConfig(
        max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, ignore_eos=True
    )
    random = np.random.default_rng(0)
    for streams in counts:
        ids = random.integers(4, 30_000, (streams, PROMPT))
        given = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
        begin = time.perf_counter()
        result = pipe.generate(given, config)
        whole_s = time.perf_counter() - begin
        metrics = result.perf_metrics
        print(json.dumps({
            "streams": streams, "tokens_per_s": streams * tokens / whole_s,
            "ttft_s": metrics.get_ttft().mean / 1e3, "tpot_s": metrics.get_tpot().mean / 1e3,
            "start_s": start_s,
        }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], [int(n) for n in sys.argv[2].split(",")], int(sys.argv[3]), int(sys.argv[4]))
