"""What a run of the demo may have seen, for tests of its page."""

from pathlib import Path

from cordee.journey.course import Journey, Order
from cordee.journey.planning import Offer, Planned
from cordee.journey.porting import Ported, Ran
from cordee.journey.serving import Piece, Served
from cordee.journey.training import Change, Trained

PATCH = """A port by cordee.
--- a/train.py
+++ b/train.py
@@ -1,3 +1,3 @@
 import torch
-x = x.cuda()
+x = x.to(torch.accelerator.current_accelerator())
 y = model(x)
"""
OFFER = Offer(
    "910B3", "mindspeed", "TP1 PP1 DP4 ZeRO1", 2e5, 1.8e5, 2.6e5, 0.55, 53.8, 45.0, "host"
)
JOURNEY = Journey(
    order=Order(Path("demo"), steps=6, kill_step=2, tokens=6, kill_token=3, seed=1, fresh=False),
    ported=Ported(
        lines=573,
        ties=58,
        rewritten=44,
        run_as_they_are=6,
        hours_low=3.2,
        hours_high=13.2,
        patch=PATCH,
        report="demo/ported/cordee-port.html",
        verdict="Proven: the port runs on the virtual chip and gives what the CPU gives.",
        holds=True,
        ran=(Ran("aten::add.Tensor", "native", 3000), Ran("aten::eye", "host", 240)),
        on_chip=(4.2, 4.0),
        on_cpu=(4.2, 4.0),
        difference=2.6e-7,
    ),
    planned=(Planned("config.json", 4, 1e9, (OFFER,)), Planned("Llama-3.1-8B", 64, 1e12, (OFFER,))),
    trained=Trained(
        losses=(4.2, 4.0, 3.8, 3.7, 3.5, 3.4),
        killed_worker=3,
        killed_at=3,
        pause_s=0.6,
        usual_s=0.4,
        back_after_s=4.0,
        changes=(
            Change(0, (0, 1, 2, 3), "the job begins", 0.0),
            Change(3, (0, 1, 2), "worker 3: its connection closed", 2.0),
            Change(5, (0, 1, 2, 4), "worker 4 joins", 6.0),
        ),
        seconds=20.0,
    ),
    served=Served(
        prompt="KING RICHARD II:\n",
        pieces=tuple(Piece(c, f"ascend-{n // 3}", n * 0.1) for n, c in enumerate("abcdef")),
        killed="ascend-0",
        killed_at=3,
        undisturbed="abcdef",
    ),
    as_before=("the port",),
    seconds=90.0,
)
