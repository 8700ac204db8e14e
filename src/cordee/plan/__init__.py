"""What a workload will take on NVIDIA and on Ascend: time, memory, cost, before anyone buys."""
