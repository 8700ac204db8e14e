"""A plain DDP script, as one writes it for torchrun: nothing in it knows of any other launcher."""

import argparse
import hashlib
import os
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def told() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-s", type=float, default=0.0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    args = told()
    device = torch.device(
        args.device, int(os.environ["LOCAL_RANK"]) if args.device != "cpu" else None
    )
    dist.init_process_group({"cpu": "gloo", "npu": "hccl", "cuda": "nccl"}[args.device])
    rank = int(os.environ["RANK"])
    torch.manual_seed(rank)  # models differ until they are wrapped
    model = DDP(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(240, 8, generator=generator)
    data = TensorDataset(x, (x.sum(1) > 0).long() + 2 * (x[:, 0] > 0).long())
    sampler = DistributedSampler(data, shuffle=True)
    loader = DataLoader(data, batch_size=4, sampler=sampler, num_workers=args.workers)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(loader))
    for epoch in range(args.epochs):
        model.train()
        assert len(next(iter(loader))[0])  # tutorials look before they begin
        sampler.set_epoch(epoch)
        for number, batch in enumerate(loader):
            inputs, targets = (part.to(device) for part in batch)
            if (number + 1) % args.accumulate:
                with model.no_sync():
                    F.cross_entropy(model(inputs), targets).backward()
                continue
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            time.sleep(args.batch_s)
        model.eval()
        with torch.no_grad():
            right = (model(x.to(device)).argmax(1).cpu() == data.tensors[1]).float().mean()
        if rank == 0:
            print(f"epoch {epoch}: loss {loss.item():.4f}, {right:.4f} right", flush=True)
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(value.cpu().numpy().tobytes())
    print("digest", made.hexdigest()[:16], f"{right:.4f}", schedule.last_epoch, flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
