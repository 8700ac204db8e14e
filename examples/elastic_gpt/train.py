"""Trains the GPT of examples/nvidia_gpt, ported, so that it goes on when a chip falls, and saves it to be served.

PYTHONPATH=PORTED cordee train --workers 4 --chip Ascend910B3 -- examples/elastic_gpt/train.py --save out/model
"""

import argparse
from pathlib import Path

import torch
from corpus import batch, load
from export import save
from model import GPT, GPTConfig

import cordee.train as ct


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--shards", type=int, default=4, help="parts of the batch")
    parser.add_argument("--shard-size", type=int, default=8, help="sequences in a part")
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument(
        "--save", type=Path, help="a folder for the model, as Hugging Face lays it out"
    )
    return parser.parse_args()


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    vocabulary, tokens, _ = load()
    shape = GPTConfig(len(vocabulary), args.block_size, args.layers, args.heads, args.width)
    model = GPT(shape).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.95), weight_decay=0.1
    )
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, args.steps, pct_start=0.1)

    training = ct.Training(model, optimizer, shards=args.shards, clip=1.0, schedulers=[decay])
    for step in training.steps(args.steps):
        for shard in step:
            seed = args.seed + step.number * args.shards + shard
            x, y = batch(tokens, args.shard_size, args.block_size, seed)
            step.backward(model(x.to(device), y.to(device))[1])
        if step.leads:
            print(f"step {step.number} loss {step.loss:.6f}", flush=True)
    if args.save and training.leads:
        save(model, vocabulary, args.save)


if __name__ == "__main__":
    main()
