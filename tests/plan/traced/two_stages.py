"""What a test traces: two stages of a pipeline and two copies of both, on four chips."""

import os

import torch
import torch.distributed as dist
import torch_npu  # noqa: F401 - brings the device
from torch import nn

MICRO_BATCHES, TOKENS, WIDTH = 4, 64, 128


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


rank = int(os.environ["RANK"])
torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl")
mesh = dist.init_device_mesh("npu", (2, 2), mesh_dim_names=("data", "stage"))
copies, stages = mesh.get_group("data"), mesh.get_group("stage")
other = dist.get_global_rank(stages, 1 - dist.get_rank(stages))
is_first = dist.get_rank(stages) == 0
model = Stage().npu()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _ in range(3):
    kept = []
    for _ in range(MICRO_BATCHES):
        x = torch.ones(TOKENS, WIDTH, device="npu", requires_grad=True)
        if not is_first:
            dist.recv(x.data, other)
        y = model(x)
        if is_first:
            dist.send(y.detach(), other)
        kept.append((x, y))
    for x, y in kept:
        gradient = torch.ones_like(y)
        if is_first:
            dist.recv(gradient, other)
        y.backward(gradient)
        if not is_first:
            dist.send(x.grad, other)
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad, group=copies)
    optimizer.step()
    optimizer.zero_grad()
dist.destroy_process_group()
