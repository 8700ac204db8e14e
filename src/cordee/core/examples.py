"""An example of each command, shown at the end of its help and run by a test."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """`machine`: options of the virtual machine that has to run meanwhile, for the test. `exit_code`: where the example
    finds something. `tried_in`: where a command that takes more than a line is tried instead."""

    command: str
    machine: str = ""
    exit_code: int = 0
    tried_in: str = ""


EXAMPLES = {
    "assess": Example("cordee assess examples/nvidia_gpt", exit_code=1),
    "chat": Example("cordee chat --url http://127.0.0.1:8000 --trace", tried_in="tests/serve/chat"),
    "chips": Example("cordee chips"),
    "demo": Example("cordee demo --kill-step 30 --seed 7", tried_in="tests/e2e/test_demo.py"),
    "doctor": Example("cordee doctor"),
    "explain": Example("cordee explain NV203"),
    "fault hang": Example("cordee fault hang --chip 0 --at-step 100 --for 5s", machine="--chips 2"),
    "fault host": Example("cordee fault host --node 0 --at-step 100", machine="--chips 2"),
    "fault kill": Example("cordee fault kill --chip 0 --at-step 100", machine="--chips 2"),
    "fault link": Example(
        "cordee fault link --between 0 1 --down --after 20s", machine="--chips 2"
    ),
    "fault list": Example("cordee fault list", machine="--chips 2"),
    "fault memory": Example(
        "cordee fault memory --chip 0 --at-step 100 --report uce", machine="--chips 2"
    ),
    "fault partition": Example(
        "cordee fault partition --nodes 0 1 --after 20s", machine="--chips 2 --nodes 2"
    ),
    "fault repair": Example("cordee fault repair --all", machine="--chips 2"),
    "fault slow": Example(
        "cordee fault slow --chip 0 --factor 3 --at-step 100", machine="--chips 2"
    ),
    "fault wrong": Example(
        "cordee fault wrong --chip 0 --operator aten::mm --bit 30 --at-step 100",
        machine="--chips 2",
    ),
    "plan calibrate": Example(
        "cordee plan calibrate steps.toml --output mine.toml",
        tried_in="tests/plan/test_calibrate.py",
    ),
    "plan chips": Example("cordee plan chips H100-SXM 910B3 910C"),
    "plan program": Example(
        "cordee plan program run.trace --chip A100 --chip 910B3 --chips 64 --layers 32",
        tried_in="tests/plan/traced",
    ),
    "plan serve": Example(
        "cordee plan serve Qwen3-32B --chip H20 --chip 910B3 --chips 8 --rate 2 --ttft 2000 --tpot 50"
    ),
    "plan goodput": Example("cordee plan goodput --chips 4096 --chip 910B2 --days 7 --spares 1%"),
    "plan train": Example(
        "cordee plan train Llama-3.1-8B --chip A100 --chip 910B3 --chips 64 --tokens 1T"
    ),
    "plan validate": Example("cordee plan validate --plot errors.svg"),
    "port": Example(
        'cordee port examples/nvidia_gpt -o ported --prove "python train.py --steps 2"'
    ),
    "run": Example(
        "cordee run --from-cuda -- python examples/nvidia_gpt/train.py --steps 2 --layers 2 --width 64"
    ),
    "serve check-args": Example(
        'cordee serve check-args "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --quantization fp8"',
        exit_code=1,
    ),
    "serve manifests": Example(
        "cordee serve manifests models/qwen3-8b --image registry.example/cordee:1 --claim models"
    ),
    "serve move": Example(
        "cordee serve move --from nvidia --to ascend --report move.html",
        tried_in="tests/serve/move",
    ),
    "serve restart": Example("cordee serve restart ascend", tried_in="tests/serve/gateway"),
    "serve run": Example(
        "cordee serve models/qwen3-0.6b --replicas 2", tried_in="docs/tutorials/serve.md"
    ),
    "serve scale": Example("cordee serve scale small 2", tried_in="docs/tutorials/serve.md"),
    "serve status": Example(
        "cordee serve status --url http://127.0.0.1:8000", tried_in="docs/tutorials/serve.md"
    ),
    "train manifests": Example(
        "cordee train manifests --image registry.example/cordee:1 --hosts 4 -- --mode exact -- train.py"
    ),
    "train run": Example(
        "cordee train --workers 4 --spares 1 -- train.py --steps 1000",
        tried_in="docs/tutorials/train.md",
    ),
    "train show": Example("cordee train show out/job --output job.html", tried_in="tests/train"),
}
"""By the words after `cordee`."""
