"""Writes text with a GPT that train.py has saved, and says how fast the GPU does it."""

import argparse

import torch
from corpus import load
from model import GPT


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--prompt", default="KING RICHARD II:\n")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest")
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1337)
    return parser.parse_args()


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    torch.cuda.manual_seed(args.seed)
    on_gpu = "cuda" in args.device

    checkpoint = torch.load(args.checkpoint, map_location=args.device, weights_only=False)
    model = GPT(checkpoint["config"])
    model.load_state_dict(checkpoint["model"])
    model.to(device=args.device, dtype=getattr(torch, args.dtype)).eval()

    vocabulary, _, _ = load()
    prompt = vocabulary.encode(args.prompt)[None]
    if on_gpu:
        prompt = prompt.cuda(non_blocking=True)
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
    tokens = model.generate(prompt, args.tokens, args.temperature, args.top_k)
    if on_gpu:
        end.record()
        torch.cuda.synchronize()
    print(vocabulary.decode(tokens[0].tolist()))
    if on_gpu:
        print(f"\n{args.tokens / start.elapsed_time(end) * 1e3:.0f} tokens/s")


if __name__ == "__main__":
    main()
