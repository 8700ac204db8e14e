"""Everything that is said of one server, and the server as it starts on Ascend."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cordee.core.shell.words import Word
from cordee.serve.deployment import environment, options
from cordee.serve.deployment.arguments import Arguments, arguments
from cordee.serve.deployment.chips import IMAGE, Target
from cordee.serve.deployment.features import Situation, combined
from cordee.serve.deployment.judgement import Finding, Verdict
from cordee.serve.deployment.launch import Launch, Setting
from cordee.serve.deployment.model import Model, findings_about, model_of
from cordee.serve.deployment.others import TITLES, as_vllm

STARTERS = ("mpirun", "mpiexec", "trtllm-llmapi-launch")
PROFILERS = ("nsys", "ncu", "nvprof", "compute-sanitizer")
NO_MODEL = "MODEL"
SOURCE_IMAGES = "github.com/vllm-project/vllm-ascend v0.23.0 docs/source/installation.md"


@dataclass(frozen=True, slots=True)
class Server:
    """One server on Ascend."""

    words: tuple[tuple[Word, ...], ...]
    """The command: the program with its model, then one option after another."""
    settings: tuple[Setting, ...]
    image: str
    """Empty where the deployment names none."""
    chips: int
    """As many as the deployment has GPUs, or as its parallel sizes make."""
    visible: tuple[int, ...] = ()
    """Numbers that ASCEND_RT_VISIBLE_DEVICES names."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of one server."""

    launch: Launch
    target: Target
    findings: tuple[Finding, ...]
    server: Server

    @property
    def decisions(self) -> tuple[Finding, ...]:
        """The findings for which nothing right could be written."""
        return tuple(finding for finding in self.findings if finding.decide)


def report(given: Launch, target: Target, folder: Path) -> Report:
    """Judge one server; paths of models and configurations are looked for in `folder`."""
    launch, findings = as_vllm(given)
    if given.engine != "vllm":
        findings.insert(0, _engine(given.engine))
    args = arguments(launch.arguments, launch.known, target.release.vllm, folder)
    findings += _loose(args)
    written: list[tuple[Word, ...]] = []
    for option in args.options:
        if option.name == "--config" and args.unread:
            written.append((Word(option.name), *option.words))
            continue
        judged = options.judged(option, launch.known, target)
        findings += judged.findings
        if judged.words:
            written.append(judged.words)
    said, kept = environment.judged(launch.settings, launch.known, target)
    findings += said
    model = None
    if args.model is not None:
        model = model_of(args.model.value(launch.known), folder)
        findings += findings_about(model, target.family.name, args.value("--quantization"))
    elif not args.unread:
        says = "no model is named"
        findings.append(Finding(Verdict.UNKNOWN, "model", says, "vllm serve MODEL", True))
    kept, extra = _combined(args, target, kept, model, launch, findings)
    written += extra
    findings += _container(launch, target)
    prefix, profiled = _prefix(launch)
    findings += profiled
    head = (*prefix, Word("vllm"), Word("serve"), *([args.model] if args.model else []))
    chips, visible = _chips(launch, args)
    image = target.family.image(target.release) if launch.image else ""
    if launch.image.startswith(IMAGE):
        image = launch.image
    server = Server((head, *written), tuple(kept), image, chips, visible)
    return Report(launch, target, tuple(findings), server)


def _engine(engine: str) -> Finding:
    says = f"{TITLES[engine]}'s command in vLLM's words; answers and speed are vLLM's"
    if engine == "sglang":
        says += "; SGLang has an Ascend backend of its own, which is not judged here"
    return Finding(Verdict.OTHERWISE, TITLES[engine], says, "try the result beside it", True)


def _loose(args: Arguments) -> Iterable[Finding]:
    for word in args.extra:
        if word.text.strip():
            says = "a word that belongs to no flag"
        else:
            says = "a blank after a backslash: the line does not go on there"
        yield Finding(Verdict.UNKNOWN, repr(word.text), says, "take it out", True)
    if args.unread:
        says = "the file of --config could not be read here; its options are not judged"
        yield Finding(
            Verdict.UNCHECKED, "--config", f"{says} ({args.unread})", "give the file", True
        )


def _combined(
    args: Arguments,
    target: Target,
    kept: list[Setting],
    model: Model | None,
    launch: Launch,
    findings: list[Finding],
) -> tuple[list[Setting], list[tuple[Word, ...]]]:
    settings = {setting.name: setting.value.value(launch.known) for setting in kept}
    words: list[tuple[Word, ...]] = []
    for added in combined(Situation(args, target.family, settings, model)):
        findings.append(added.finding)
        if added.words:
            words.append(added.words)
        kept = [setting for setting in kept if setting.name != added.unset]
    return kept, words


def _container(launch: Launch, target: Target) -> Iterable[Finding]:
    if not launch.image:
        return
    image = target.family.image(target.release)
    if launch.image.startswith(IMAGE):
        yield Finding(Verdict.WORKS, launch.image, "an image of vllm-ascend", source=SOURCE_IMAGES)
    elif "vllm-openai" in launch.image or launch.engine != "vllm":
        says = f"{image} stands for it; it starts nothing by itself, so the command is written out"
        yield Finding(Verdict.OTHERWISE, launch.image, says, source=SOURCE_IMAGES)
    elif "$" in launch.image:
        says = "the image is in a variable"
        yield Finding(
            Verdict.OTHERWISE, launch.image, says, f"let it be {image}", True, SOURCE_IMAGES
        )
    else:
        says = "an image of your own: what is in it is not known"
        instead = f"build it on {image}"
        yield Finding(Verdict.OTHERWISE, launch.image, says, instead, True, SOURCE_IMAGES)


def _prefix(launch: Launch) -> tuple[tuple[Word, ...], list[Finding]]:
    prefix = launch.prefix
    name = prefix[0].text.rpartition("/")[2] if prefix else ""
    if launch.engine != "vllm" and name in STARTERS:
        return (), [
            Finding(Verdict.MEANINGLESS, name, "vLLM starts its processes itself: left out")
        ]
    if name not in PROFILERS:
        return prefix, []
    says = "a profiler of NVIDIA's, left out; msprof stands for it"
    return (), [Finding(Verdict.OTHERWISE, name, says)]


def _chips(launch: Launch, args: Arguments) -> tuple[int, tuple[int, ...]]:
    told = next((s for s in launch.settings if s.name == "CUDA_VISIBLE_DEVICES"), None)
    text = told.value.value(launch.known) if told else ""
    parts = [part.strip() for part in text.split(",")]
    visible = (
        tuple(int(p) for p in parts)
        if text and all(p.isdecimal() and len(p) < 4 for p in parts)
        else ()
    )
    local = args.number("--data-parallel-size-local", args.number("--data-parallel-size"))
    sizes = (
        "--tensor-parallel-size",
        "--pipeline-parallel-size",
        "--prefill-context-parallel-size",
    )
    world = local
    for size in sizes:
        world *= args.number(size)
    return launch.gpus or len(visible) or max(1, min(world, 64)), visible
