"""llama.cpp: `python llama_cpp_peer.py FILE.gguf STREAMS,... TOKENS THREADS`, all streams in one batch."""

import json
import sys
import time
from pathlib import Path

import llama_cpp as c
import numpy as np

PROMPT = 64
SILENCE = c.llama_log_callback(lambda *_: None)  # kept: llama.cpp calls it later too


def main(file: str, counts: list[int], tokens: int, threads: int) -> None:
    began = time.perf_counter()
    c.llama_backend_init()
    c.llama_log_set(SILENCE, None)
    whole = c.llama_model_default_params()
    # Its own kernels for AMX end with a general protection fault here (0.3.36, q8_0): those for AVX-512 do not.
    whole.use_extra_bufts = "amx_tile" not in Path("/proc/cpuinfo").read_text()
    model = c.llama_model_load_from_file(file.encode(), whole)
    vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    start_s = time.perf_counter() - began
    for streams in counts:
        settings = c.llama_context_default_params()
        settings.n_ctx = streams * (PROMPT + tokens + 8)
        settings.n_batch = settings.n_ubatch = 512
        settings.n_seq_max = streams
        settings.n_threads = settings.n_threads_batch = threads
        context = c.llama_init_from_model(model, settings)
        batch = c.llama_batch_init(512, 0, 1)
        random = np.random.default_rng(0)
        begin = time.perf_counter()
        last, first_s = {}, []
        for sequence in range(streams):
            ids = random.integers(4, vocabulary, PROMPT)
            fill(batch, [(int(i), place, sequence) for place, i in enumerate(ids)], {PROMPT - 1})
            assert c.llama_decode(context, batch) == 0
            last[sequence] = best(context, PROMPT - 1, vocabulary)
            first_s.append(time.perf_counter() - begin)
        talking = time.perf_counter()
        for step in range(tokens - 1):
            rows = [(last[s], PROMPT + step, s) for s in range(streams)]
            fill(batch, rows, set(range(streams)))
            assert c.llama_decode(context, batch) == 0
            last = {s: best(context, s, vocabulary) for s in range(streams)}
        ended = time.perf_counter()
        print(json.dumps({
            "streams": streams, "tokens_per_s": streams * tokens / (ended - begin),
            "ttft_s": float(np.median(first_s)), "tpot_s": (ended - talking) / (tokens - 1), "start_s": start_s,
        }), flush=True)  # fmt: skip
        c.llama_free(context)


def fill(batch: object, rows: list[tuple[int, int, int]], wanted: set[int]) -> None:
    batch.n_tokens = len(rows)
    for place, (token, position, sequence) in enumerate(rows):
        batch.token[place], batch.pos[place] = token, position
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
        batch.logits[place] = place in wanted


def best(context: object, row: int, vocabulary: int) -> int:
    return int(np.ctypeslib.as_array(c.llama_get_logits_ith(context, row), (vocabulary,)).argmax())


if __name__ == "__main__":
    main(sys.argv[1], [int(n) for n in sys.argv[2].split(",")], int(sys.argv[3]), int(sys.argv[4]))
