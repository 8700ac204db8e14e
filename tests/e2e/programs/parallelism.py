"""Every way in which PyTorch spreads a model over chips, compared with one chip; for four ranks.

Prints `ok NAME` for each, or `failed NAME` with what was raised.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.experimental import context_parallel
from torch.distributed.tensor.experimental._attention import context_parallel_unshard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
CHECKS: list[Callable[[], None]] = []


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS.append(function)
    return function


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a.cpu(), b.cpu(), rtol=tolerance, atol=tolerance)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.norm, self.down = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.norm(self.up(x))))


def data() -> Tensor:
    torch.manual_seed(7)
    return torch.randn(8, 8)


def mine(x: Tensor) -> Tensor:
    return x.chunk(RANKS)[RANK].npu()


def reference_gradient() -> Tensor:
    model = Network()
    model(data()).pow(2).mean().backward()
    assert model.up.weight.grad is not None
    return model.up.weight.grad


@check
def data_parallel() -> None:
    model = DistributedDataParallel(Network().npu(), bucket_cap_mb=0.0005)
    with model.no_sync():
        model(mine(data())).pow(2).mean().backward()
    model.zero_grad()
    model(mine(data())).pow(2).mean().backward()
    close(model.module.up.weight.grad, reference_gradient())


@check
def data_parallel_with_hooks() -> None:
    model = DistributedDataParallel(Network().npu())
    model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    model(mine(data())).pow(2).mean().backward()
    close(model.module.up.weight.grad, reference_gradient(), 1e-2)
    model = DistributedDataParallel(Network().npu())
    state = powerSGD_hook.PowerSGDState(None, 1, start_powerSGD_iter=2)
    model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    for _ in range(4):
        model(mine(data())).pow(2).mean().backward()


@check
def fully_sharded() -> None:
    model = Network().npu()
    fully_shard(model.up)
    fully_shard(model)
    model(mine(data())).pow(2).mean().backward()
    assert isinstance(model.up.weight.grad, DTensor)
    close(model.up.weight.grad.full_tensor(), reference_gradient())


@check
def fully_sharded_in_half_precision_and_replicated() -> None:
    mesh = init_device_mesh("npu", (2, 2), mesh_dim_names=("replicate", "shard"))
    model = Network().npu()
    fully_shard(model, mesh=mesh, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    model(mine(data()).bfloat16()).float().pow(2).mean().backward()
    assert isinstance(model.up.weight.grad, DTensor)
    close(model.up.weight.grad.full_tensor(), reference_gradient(), 2e-2)


@check
def fully_sharded_the_older_way() -> None:
    model = FullyShardedDataParallel(Network().npu(), use_orig_params=True)
    model(mine(data())).pow(2).mean().backward()
    with FullyShardedDataParallel.summon_full_params(model, with_grads=True):
        close(model.module.up.weight.grad, reference_gradient())


@check
def tensor_parallel() -> None:
    mesh = init_device_mesh("npu", (RANKS,))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    plan["up"] = ColwiseParallel(output_layouts=Replicate())
    model = parallelize_module(Network().npu(), mesh, {"up": plan["up"]})
    model(data().npu()).pow(2).mean().backward()
    assert isinstance(model.up.weight.grad, DTensor)
    close(model.up.weight.grad.full_tensor(), reference_gradient())


@check
def sequence_parallel() -> None:
    mesh = init_device_mesh("npu", (RANKS,))
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
    x = torch.randn(2, 8, 8)
    expected = model(x)
    parts = {
        "0": SequenceParallel(),
        "1": ColwiseParallel(input_layouts=Shard(1)),
        "3": RowwiseParallel(output_layouts=Replicate()),
    }
    sharded = parallelize_module(model.npu(), mesh, parts)
    close(sharded(x.chunk(RANKS, dim=1)[RANK].npu()), expected)


@check
def distributed_tensors() -> None:
    mesh = init_device_mesh("npu", (2, 2), mesh_dim_names=("a", "b"))
    whole = torch.arange(16.0).reshape(4, 4)
    x = distribute_tensor(whole.npu(), mesh, [Shard(0), Shard(1)])
    close(x.redistribute(mesh, [Replicate(), Shard(0)]).full_tensor(), whole)
    close((x @ x).full_tensor(), whole @ whole)
    assert mesh["a"].size() == 2


@check
def products_on_shards() -> None:
    mesh = init_device_mesh("npu", (RANKS,))
    torch.manual_seed(3)
    vector, matrix = torch.randn(4), torch.randn(4, 2 * RANKS)
    shards = distribute_tensor(matrix.npu().requires_grad_(), mesh, [Shard(1)])
    product = distribute_tensor(vector.npu(), mesh, [Replicate()]) @ shards
    assert product.placements == (Shard(0),)
    close(product.full_tensor(), vector @ matrix)
    product.sum().backward()
    close(shards.grad.full_tensor(), vector[:, None].expand_as(matrix))


@check
def operators_of_the_adapter_on_shards() -> None:
    mesh = init_device_mesh("npu", (RANKS,))
    torch.manual_seed(0)
    x = torch.randn(8, 16).npu().requires_grad_()
    torch.ops.npu.npu_swiglu(x).pow(2).sum().backward()
    for placement in (Replicate(), Shard(0), Shard(1)):
        shards = distribute_tensor(x.detach(), mesh, [placement]).requires_grad_()
        torch.ops.npu.npu_swiglu(shards).pow(2).sum().backward()
        close(shards.grad.full_tensor(), x.grad)


def attention_by_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.ops.npu.npu_fusion_attention(q, k, v, 4, "BNSD", scale=0.5)[0]


@check
def fused_attention_on_shards() -> None:
    mesh = init_device_mesh("npu", (RANKS,))
    torch.manual_seed(0)
    qkv = [torch.randn(4, 4, 16, 8).npu().requires_grad_() for _ in range(3)]
    attention_by_heads(*qkv).pow(2).sum().backward()
    for placement in (Replicate(), Shard(0), Shard(1)):
        shards = [distribute_tensor(x.detach(), mesh, [placement]).requires_grad_() for x in qkv]
        attention_by_heads(*shards).pow(2).sum().backward()
        for shard, x in zip(shards, qkv, strict=True):
            close(shard.grad.full_tensor(), x.grad)


@check
def pipelines() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(8, 8) for _ in range(RANKS)]
    x = data()
    expected = nn.Sequential(*layers)(x)
    for schedule in (ScheduleGPipe, Schedule1F1B):
        stage = PipelineStage(layers[RANK].npu(), RANK, RANKS, torch.device("npu", RANK))
        run = schedule(stage, n_microbatches=4, loss_fn=F.mse_loss)
        if RANK == 0:
            run.step(x.npu())
        elif RANK == RANKS - 1:
            losses: list[Tensor] = []
            close(run.step(target=torch.zeros(8, 8).npu(), losses=losses), expected)
        else:
            run.step()
        assert layers[RANK].weight.grad is not None
        layers[RANK].zero_grad()


@check
def context_parallelism() -> None:
    mesh = init_device_mesh("npu", (RANKS,))
    torch.manual_seed(0)
    qkv = [torch.randn(1, 2, 16, 8, requires_grad=True) for _ in range(3)]
    expected = F.scaled_dot_product_attention(*qkv, is_causal=True)
    expected.pow(2).sum().backward()
    parts = [x.detach().npu() for x in qkv]
    with context_parallel(mesh, buffers=parts, buffer_seq_dims=[2, 2, 2]):
        assert parts[0].shape == (1, 2, 16 // RANKS, 8)
        for part in parts:
            part.requires_grad_()
        out = F.scaled_dot_product_attention(*parts, is_causal=True)
        out.pow(2).sum().backward()
        found = [out.detach(), *(part.grad for part in parts)]
        for part in parts:
            part.requires_grad_(False)
        whole = context_parallel_unshard(mesh, found, [2] * 4)
    for one, of_one_chip in zip(whole, [expected, *(x.grad for x in qkv)], strict=True):
        close(one, of_one_chip)


@check
def checkpoints() -> None:
    folder = [tempfile.mkdtemp() if RANK == 0 else None]
    dist.broadcast_object_list(folder, device=torch.device("npu", RANK))
    model = Network().npu()
    fully_shard(model)
    dcp.save({"model": model.state_dict()}, checkpoint_id=folder[0])
    saved = model.up.weight.full_tensor().clone()
    with torch.no_grad():
        model.up.weight.zero_()
    state = {"model": model.state_dict()}
    dcp.load(state, checkpoint_id=folder[0])
    model.load_state_dict(state["model"])
    close(model.up.weight.full_tensor(), saved)
    pending = dcp.async_save({"model": model.state_dict()}, checkpoint_id=f"{folder[0]}/again")
    pending.result()


@check
def functional_collectives() -> None:
    group = dist.group.WORLD
    x = torch.full((4,), float(RANK), device="npu")
    assert functional.all_reduce(x, "sum", group).cpu().tolist() == [6.0] * 4
    assert functional.all_gather_tensor(x, 0, group).shape == (16,)
    assert functional.reduce_scatter_tensor(x, "avg", 0, group).cpu().tolist() == [1.5]
    assert functional.all_to_all_single(x, None, None, group).cpu().tolist() == [0, 1, 2, 3]


@check
def objects() -> None:
    gathered: list[object] = [None] * RANKS
    dist.all_gather_object(gathered, {"rank": RANK})
    assert gathered == [{"rank": i} for i in range(RANKS)]
    scattered: list[object] = [None]
    dist.scatter_object_list(scattered, list(range(RANKS)) if RANK == 0 else None)
    assert scattered == [RANK]


@check
def parts_of_the_world() -> None:
    pair = dist.new_group([RANK // 2 * 2, RANK // 2 * 2 + 1], use_local_synchronization=True)
    x = torch.tensor([float(RANK)], device="npu")
    dist.all_reduce(x, group=pair)
    assert x.item() == (1.0 if RANK < 2 else 5.0)
    works = [dist.all_reduce(torch.ones(1000, device="npu"), async_op=True) for _ in range(20)]
    for work in works:
        work.wait()
    on_host = torch.ones(3)
    dist.all_reduce(on_host)
    assert on_host.tolist() == [RANKS] * 3
    with dist._coalescing_manager(device=torch.device("npu", RANK), async_ops=True) as manager:
        several = [torch.ones(5, device="npu") for _ in range(3)]
        for one in several:
            dist.all_reduce(one)
    manager.wait()
    assert all(one.cpu().tolist() == [RANKS] * 5 for one in several)


def main() -> None:
    torch.npu.set_device(RANK)
    backend = os.environ.get("BACKEND", "cpu:gloo,npu:hccl")
    dist.init_process_group(None if backend == "None" else backend)
    wanted = sys.argv[1:]
    for function in CHECKS:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function()
            said = "ok"
        except Exception:  # noqa: BLE001 - whatever it is, it is told
            traceback.print_exc()
            said = "failed"
        print(f"{said} {function.__name__} {RANK}", flush=True)
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
