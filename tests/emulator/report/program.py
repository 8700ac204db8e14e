"""What the tests of reports run: a step of training, a host fallback, and two mistakes."""

import contextlib

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 4)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


model = Net().npu().half()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.ones(5, 8).npu().half()).float().sum().backward()
    optimizer.step()
torch.ones(3, device="npu").geometric_(0.5)
with contextlib.suppress(NotImplementedError):
    torch.ops.npu.attention_worker_scheduler(torch.ones(2).npu())
raise ValueError("this is how it ends")
