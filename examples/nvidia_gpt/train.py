"""Trains a small GPT on an NVIDIA GPU, or on several with `torchrun --nproc_per_node=N train.py`."""

import argparse
import contextlib
import math
import os
import random
import time

import torch
import torch.distributed as dist
from corpus import CUDAPrefetcher, batch, load
from model import GPT, GPTConfig
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel as DDP


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    default_dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default=default_dtype
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8, help="sequences per GPU")
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--grad-clip", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--shard", action="store_true", help="FSDP2 instead of DDP")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--nvtx", action="store_true", help="mark ranges for Nsight Systems")
    parser.add_argument("--checkpoint", default="", help="where to save, and to resume from")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--memory-summary", action="store_true")
    return parser.parse_args()


def set_up(args):
    """Process group and device; gives rank, world size and device."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = args.device
    if "RANK" in os.environ:
        dist.init_process_group(backend="nccl" if "cuda" in device else "gloo")
        if "cuda" in device:
            device = f"cuda:{os.environ['LOCAL_RANK']}"
    if "cuda" in device:
        torch.cuda.set_device(device)
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.cuda.manual_seed_all(args.seed)
    return rank, world, torch.device(device)


def build(vocabulary, args, device):
    """The model, whole or sharded, and its optimizer."""
    config = GPTConfig(
        len(vocabulary), args.block_size, args.layers, args.heads, args.width, args.dropout
    )
    model = GPT(config).to(device)
    if args.shard:
        for block in model.blocks:
            fully_shard(block)
        fully_shard(model)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=args.lr,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        fused=device.type == "cuda",
    )
    return model, optimizer


def learning_rate(step, args):
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    done = (step - args.warmup) / max(1, args.steps - args.warmup)
    return args.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done))))


def states(model, optimizer, args):
    """State of model and optimizer, whole also where they are sharded: then all ranks must ask."""
    if not args.shard:
        return model.state_dict(), optimizer.state_dict()
    return get_state_dict(
        model, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )


def save(path, step, model, state, scaler, args):
    checkpoint = {
        "step": step,
        "config": model.config,
        "args": vars(args),
        "model": state[0],
        "optimizer": state[1],
        "scaler": scaler.state_dict(),
        "rng": {
            "python": random.getstate(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None,
        },
    }
    torch.save(checkpoint, path + ".tmp")
    os.replace(path + ".tmp", path)


def resume(path, model, optimizer, scaler, args):
    """Load everything that `save` wrote; gives the step to go on with."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    if args.shard:
        set_state_dict(
            model,
            optimizer,
            model_state_dict=checkpoint["model"],
            optim_state_dict=checkpoint["optimizer"],
            options=StateDictOptions(full_state_dict=True),
        )
    else:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    scaler.load_state_dict(checkpoint["scaler"])
    random.setstate(checkpoint["rng"]["python"])
    torch.set_rng_state(checkpoint["rng"]["torch"])
    if checkpoint["rng"]["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(checkpoint["rng"]["cuda"])
    return checkpoint["step"]


@torch.no_grad()
def evaluate(model, tokens, args, device, autocast, batches=8):
    model.eval()
    losses = torch.zeros(batches, device=device)
    for i in range(batches):
        x, y = batch(tokens, args.batch_size, args.block_size, seed=i)
        with autocast:
            _, losses[i] = model(x.to(device), y.to(device))
    model.train()
    return losses.mean().item()


class Timer:
    """Milliseconds between two points: by CUDA events on a GPU, by the clock elsewhere."""

    def __init__(self, device):
        self.on_gpu = device.type == "cuda"
        if self.on_gpu:
            self.begin = torch.cuda.Event(enable_timing=True)
            self.end = torch.cuda.Event(enable_timing=True)

    def start(self):
        if self.on_gpu:
            self.begin.record()
        else:
            self.begin = time.perf_counter()

    def stop(self):
        if not self.on_gpu:
            return (time.perf_counter() - self.begin) * 1e3
        self.end.record()
        torch.cuda.synchronize()
        return self.begin.elapsed_time(self.end)


def describe(device, model, world):
    parameters = sum(p.numel() for p in model.parameters())
    print(f"model {parameters / 1e6:.2f} M parameters, {world} process(es)")
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        print(
            f"device {torch.cuda.get_device_name(device)}, {properties.total_memory / 2**30:.0f} GiB"
        )
        torch.cuda.reset_peak_memory_stats(device)


def main():
    args = parse_args()
    rank, world, device = set_up(args)
    dtype = getattr(torch, args.dtype)
    if dtype == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise SystemExit("this GPU has no bfloat16: use --dtype float16")
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16 and device.type == "cuda")

    vocabulary, training, validation = load()
    raw_model, optimizer = build(vocabulary, args, device)
    first = 0
    if args.checkpoint and os.path.exists(args.checkpoint):
        first = resume(args.checkpoint, raw_model, optimizer, scaler, args)
    model = torch.compile(raw_model) if args.compile else raw_model
    if dist.is_initialized() and not args.shard:
        model = DDP(model, device_ids=[device.index] if device.type == "cuda" else None)
    if rank == 0:
        describe(device, raw_model, world)
        if first:
            print(f"resumed at step {first} from {args.checkpoint}")

    mine = slice(rank * args.batch_size, (rank + 1) * args.batch_size)  # of the global batch
    seeds = (args.seed + step for step in range(first, args.steps))
    drawn = (batch(training, world * args.batch_size, args.block_size, seed) for seed in seeds)
    batches = ((x[mine], y[mine]) for x, y in drawn)
    if device.type == "cuda":
        batches = CUDAPrefetcher(batches, device)
    marked = torch.cuda.nvtx.range if args.nvtx else contextlib.nullcontext
    timer = Timer(device)
    for step, (x, y) in enumerate(batches, start=first):
        timer.start()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        with marked("forward"), autocast:
            _, loss = model(x, y)
        with marked("backward"):
            scaler.scale(loss).backward()
        with marked("step"):
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.grad_clip)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
        if dist.is_initialized():
            dist.all_reduce(loss.detach_())
            loss /= world
        took_ms = timer.stop()
        if rank == 0:
            rate = world * args.batch_size * args.block_size / took_ms * 1e3
            print(
                f"step {step} loss {loss.item():.6f} ms {took_ms:.1f} tok/s {rate:.0f}", flush=True
            )
        if args.checkpoint and ((step + 1) % args.save_every == 0 or step + 1 == args.steps):
            state = states(raw_model, optimizer, args)
            if rank == 0:
                save(args.checkpoint, step + 1, raw_model, state, scaler, args)

    validated = evaluate(raw_model, validation, args, device, autocast)
    if rank == 0:
        print(f"validation loss {validated:.6f}")
        if device.type == "cuda":
            print(f"peak memory {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB")
            if args.memory_summary:
                print(torch.cuda.memory_summary(device, abbreviated=True))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
