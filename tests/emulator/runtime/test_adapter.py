"""The real torch_npu on the runtime alone: what it does without any operator of ours."""

import json

import pytest

pytestmark = pytest.mark.slow

MiB = 1 << 20

PLAIN = """
import json, time, threading
import torch, torch_npu

seen = {}
seen["available"] = torch.npu.is_available(), torch.npu.device_count()
seen["name"] = torch.npu.get_device_name(0)
seen["total"] = torch.npu.get_device_properties(0).total_memory
sent = torch.arange(1000.0)
seen["round_trip"] = bool((sent.npu().cpu() == sent).all())
seen["seam"] = bool((torch.arange(3_000_000).npu().cpu() == torch.arange(3_000_000)).all())
on_chip = torch.empty(1 << 20, dtype=torch.uint8, device="npu")
seen["allocated"] = torch.npu.memory_allocated()
seen["used"] = torch.npu.mem_get_info()[1] - torch.npu.mem_get_info()[0]
seen["reserved"] = torch.npu.memory_reserved()
try:
    torch.empty(70 << 30, dtype=torch.uint8, device="npu")
except torch.OutOfMemoryError as error:
    seen["too_much"] = str(error)
seen["pinned"] = torch.ones(3).pin_memory().is_pinned(), torch.ones(3).is_pinned()

stream, start, end = torch.npu.Stream(), *(torch.npu.Event(enable_timing=True) for _ in "12")
pinned = torch.full((4 << 20,), 7, dtype=torch.uint8).pin_memory()
with torch.npu.stream(stream):
    start.record()
    there = pinned.npu(non_blocking=True)
    back = torch.empty_like(pinned).pin_memory()
    back.copy_(there, non_blocking=True)
    end.record()
end.synchronize()
seen["in_order"] = bool((back == 7).all())
seen["elapsed"] = start.elapsed_time(end) > 0, end.query()
torch.npu.current_stream().wait_stream(stream)
torch.npu.synchronize()
del on_chip, there
torch.npu.empty_cache()
seen["left"] = torch.npu.memory_allocated()
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(run_once):
    """What one program reports about itself."""
    return json.loads(run_once(PLAIN).splitlines()[-1])


def test_the_adapter_finds_the_chip(seen) -> None:
    assert seen["available"] == [True, 1]
    assert seen["name"] == "Ascend910B3"
    assert seen["total"] == 62420 * MiB


def test_tensors_survive_a_round_trip(seen) -> None:
    assert seen["round_trip"]
    assert seen["seam"]


def test_memory_statistics_are_those_of_the_chip(seen) -> None:
    assert seen["allocated"] >= 1 << 20
    assert seen["used"] >= seen["reserved"] >= seen["allocated"]
    assert seen["left"] < seen["allocated"]


def test_out_of_memory_is_pytorchs_own_error_with_real_numbers(seen) -> None:
    assert "Tried to allocate 70.00 GiB" in seen["too_much"]
    assert "60.96 GiB total capacity" in seen["too_much"]


def test_pinned_memory_is_pinned_and_other_memory_is_not(seen) -> None:
    assert seen["pinned"] == [True, False]


def test_copies_on_a_stream_run_in_order_between_its_events(seen) -> None:
    assert seen["in_order"]
    assert seen["elapsed"] == [True, True]


def test_segments_expand(run) -> None:
    out = run(
        """
        import torch, torch_npu
        tensors = [torch.full((n << 20,), n, dtype=torch.uint8).npu() for n in (1, 3, 30, 50)]
        del tensors[1:3]
        large = torch.full((70 << 20,), 9, dtype=torch.uint8).npu()
        torch.npu.empty_cache()
        ok = all(bool((t.cpu() == t.cpu()[0]).all()) for t in (*tensors, large))
        segments = [s for s in torch.npu.memory_snapshot() if s["is_expandable"]]
        say(ok, len(segments) > 0, torch.npu.memory_reserved() < 200 << 20)
        """,
        PYTORCH_NPU_ALLOC_CONF="expandable_segments:True",
    )
    assert out.splitlines()[-1] == "True True True"


def test_tensors_are_shared_between_processes(run, tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import torch, torch_npu, torch.multiprocessing as mp

def change(queue, done):
    tensor = queue.get()
    tensor.copy_(torch.full((8,), 5.0))
    torch.npu.synchronize()
    done.set()

if __name__ == "__main__":
    context = mp.get_context("spawn")
    queue, done = context.Queue(), context.Event()
    child = context.Process(target=change, args=(queue, done))
    child.start()
    mine = torch.ones(8).npu()
    queue.put(mine)
    done.wait(90)
    print(mine.cpu().tolist()[:2])
    child.join()
    print(child.exitcode)
"""
    )
    out = run(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')")
    assert out.splitlines()[-2:] == ["[5.0, 5.0]", "0"]


def test_loader_workers_may_be_forked_from_a_process_with_a_device(run) -> None:
    out = run(
        """
        import torch, torch_npu
        on_chip = torch.ones(4).npu()
        data = torch.utils.data.TensorDataset(torch.arange(32.0))
        loader = torch.utils.data.DataLoader(data, batch_size=8, num_workers=2, pin_memory=True)
        got = torch.cat([batch.npu(non_blocking=True).cpu() for (batch,) in loader])
        say(bool((got == torch.arange(32.0)).all()), on_chip.cpu().tolist())
        """
    )
    assert out.splitlines()[-1] == "True [1.0, 1.0, 1.0, 1.0]"
