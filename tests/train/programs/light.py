"""A worker without a model: it takes part in a job as a real one does, but for tensors, and starts in no time."""

import argparse
import time

from cordee.train.wire import (
    CaughtUp,
    Committed,
    Done,
    Finished,
    Planned,
    Ready,
    Reported,
)
from cordee.train.worker.control import Changed, Left, Line
from cordee.train.worker.job import hello_of, job_of


class Light:
    """Where it is, and whether it holds what is to be committed next."""

    def __init__(self, step_s: float) -> None:
        job = job_of()
        self.step, self.epoch, self.holds, self.step_s = 0, 0, False, step_s
        hello = hello_of(job, (1, 1), "cpu", (4, "exact"), "light")
        self.line = Line(job.coordinator, job.secret, hello)  # feeds nobody: the plan has the step
        self.line.say(Ready())

    def join(self) -> None:
        while self.line.pending is None:
            if not self.line.wait_change(0.2):
                self.line.say(CaughtUp(self.step))

    def up_to_date(self) -> None:
        if self.line.pending is None:
            return
        self.epoch = self.line.take_epoch().epoch
        self.line.say(Reported(self.epoch, self.step, self.holds, ()))
        plan = self.line.expect(Planned, self.epoch, lambda: None)
        if plan.step > self.step:
            self.step = plan.step
        self.holds = False
        self.line.enter("compute")

    def make(self) -> None:
        if not self.holds:
            time.sleep(self.step_s)
            self.holds = True
        self.line.enter("reduce")
        self.line.say(Done(self.epoch, self.step))
        self.line.expect(Committed, self.epoch, lambda: None)
        self.step, self.holds = self.step + 1, False
        self.line.enter("compute")

    def run(self, steps: int) -> None:
        self.join()
        while True:
            try:
                self.up_to_date()
                if self.step < steps:
                    self.make()
                else:
                    self.line.say(Finished(self.step))
                    self.line.wait_change(1.0)
            except Changed:
                continue


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--step-s", type=float, default=0.1)
    args = parser.parse_args()
    light = Light(args.step_s)
    try:
        light.run(args.steps)
    except Left as left:
        print("made", light.step, left, flush=True)
        raise SystemExit(left.exit_code) from None


if __name__ == "__main__":
    main()
