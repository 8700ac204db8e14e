"""transformers: `python transformers_peer.py FOLDER STREAMS,... TOKENS THREADS`, generate() on one batch."""

import json
import os
import sys
import time

began = time.perf_counter()
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
sys.modules["torch_npu"] = None

import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

PROMPT = 64


def main(folder: str, counts: list[int], tokens: int, threads: int) -> None:
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    start_s = time.perf_counter() - began
    options = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    for streams in counts:
        ids = torch.randint(4, model.config.vocab_size, (streams, PROMPT))
        mask = torch.ones_like(ids)
        begin = time.perf_counter()
        model.generate(ids, attention_mask=mask, max_new_tokens=1, **options)
        first_s = time.perf_counter() - begin
        begin = time.perf_counter()
        model.generate(
            ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, **options
        )
        whole_s = time.perf_counter() - begin
        print(json.dumps({
            "streams": streams, "tokens_per_s": streams * tokens / whole_s, "ttft_s": first_s,
            "tpot_s": (whole_s - first_s) / (tokens - 1), "start_s": start_s,
        }), flush=True)  # fmt: skip


if __name__ == "__main__":
    with torch.inference_mode():
        main(
            sys.argv[1],
            [int(n) for n in sys.argv[2].split(",")],
            int(sys.argv[3]),
            int(sys.argv[4]),
        )
