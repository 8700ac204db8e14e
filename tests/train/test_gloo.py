"""Is whoever waits in a group on the CPU woken when another member has left it?"""

import subprocess
import sys

from cordee.train.worker.gloo import Gloo
from cordee.train.worker.store import Store

WAITS = """
import sys, torch
from cordee.train.worker.gloo import Gloo
group = Gloo().form(1, 1, [sys.argv[1]] * 2)
print("formed", flush=True)
try:
    group.all_gather(torch.ones(4), torch.zeros(8))
except RuntimeError as error:
    print("woken", flush=True)
"""


def test_who_waits_in_a_group_is_woken_when_another_member_drops_it_and_still_holds_on_to_it() -> (
    None
):
    store = Store("127.0.0.1")
    place, groups = f"127.0.0.1:{store.port}", Gloo()
    command = [sys.executable, "-c", WAITS, place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        held = groups.form(1, 0, [place] * 2)
        assert other.stdout is not None
        assert other.stdout.readline() == "formed\n"
        groups.drop()
        assert other.stdout.readline() == "woken\n"
    assert held.rank == 0
