"""NV70: what shell asks of batch systems, of programs and of containers."""

import re
from collections.abc import Iterator

from cordee.port.documents.words import Command, Directive, Word
from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning, Safety
from cordee.port.python.file import Span
from cordee.port.rule import Document, Family, Match
from cordee.port.rules.commands import named

SUBMITTERS = frozenset({"srun", "sbatch", "salloc", "qsub", "bsub"})
DEVICE = re.compile(r"(?:\+*[\w.\-]+[=:])?[\"']?(?P<device>cuda)(?::\d+)?[\"']?")
DEVICE_OPTION = re.compile(r"-{0,2}[\w.\-]*dev(?:ice)?(?:s|[_-](?:type|map|name|id))?")
BACKEND_OPTION = re.compile(r"-{0,2}[\w.\-]*backend(?:[_-]name)?")
RUNNERS = re.compile(r"python[\d.]*$|torchrun$|deepspeed$|accelerate$|\./|\S+\.(?:py|sh)$")
FLAG = re.compile(
    r"--(?:[\w\-]*-)?(?:no[_-])?(?:use[_-])?(?:cuda|nccl|cudnn|nvidia)(?:[_-][\w\-]+)?(?:=.*)?"
)
SLURM = "inferred: what a cluster calls its NPUs, its administrators decide; gres=npu is common"
RUNTIME = "https://www.hiascend.com/document/detail/en/mindcluster/730/clustersched/schedulingug/dlruntime_ug_007.html"
OWN = "inferred: a program's own option"

family = Family(
    "launching",
    "Batch jobs, programs and containers that are started",
    ("cuda", "nccl", "nvidia", "gpu", "nvcc", "nsys", "ncu", "dcgm", "nvtop", "trtexec", "nvitop",
     "nvprof", "nv-", "all_reduce_perf", "hipify-perl", "--nv", "-g "),
    skips=("python", "requirements"),
)  # fmt: skip


@family.rule(
    703, "a batch system is asked for GPUs", Directive, Command, meaning=Meaning.SIGNATURE,
    advice="ask the cluster's administrators what it calls its NPUs: often --gres=npu:N; a "
    "script for each cluster, or the options on sbatch's command line, serve both",
    source=SLURM,
)  # fmt: skip
def scheduled(node: Directive | Command, document: Document) -> Iterator[Match]:
    words = node.words if isinstance(node, Directive) else _submitted(node)
    for before, word in zip(("", *(w.value for w in words)), words, strict=False):
        if _asks(before, word.value):
            fix = _npu(word, document)
            sure = (
                Confidence.CERTAIN if "gpu" in word.value or "gpus" in before else Confidence.LIKELY
            )
            yield Match(word.span, f"`{word.text}` asks for GPUs", fix, confidence=sure)


@family.rule(704, "a command of NVIDIA's is run", Command, meaning=Meaning.MISSING)
def command(node: Command, document: Document) -> Iterator[Match]:
    found = named(node)
    if found is None:
        return
    at, row = found
    last = node.words[-1].span.end if row.native else node.words[at].span.end
    span = Span(node.words[at].span.start, last)
    alone = at == node.at and row.native and not document.setting.portable
    fix = Fix((Edit(span.start, span.end, row.native),), Safety.UNSAFE) if alone else None
    says = f"`{document.source.text[span.start : span.end]}` is NVIDIA's"
    confidence = Confidence(row.confidence)
    yield Match(span, says, fix, row.advice, None, Effort(row.effort), confidence, row.source)


@family.rule(
    705, "a module of CUDA is loaded", Command, meaning=Meaning.MISSING,
    advice="load CANN's module, if the cluster has one, or source "
    "/usr/local/Ascend/ascend-toolkit/set_env.sh; `module load` of what is not there only warns",
    source="inferred: modules are the cluster's own",
)  # fmt: skip
def module(node: Command, document: Document) -> Iterator[Match]:
    if node.program not in ("module", "ml", "spack"):
        return
    for word in node.arguments:
        if re.search(r"cuda|cudnn|nccl|nvhpc|nvidia", word.value, re.IGNORECASE):
            yield Match(word.span, f"`{word.value}` is a module for NVIDIA's GPUs")


@family.rule(
    707, "a program is told to use CUDA", Command, meaning=Meaning.RENAMED, source=OWN,
    advice="on Ascend pass npu; a program that takes torch.accelerator.current_accelerator() "
    "where it is told nothing needs no option",
)  # fmt: skip
def device(node: Command, document: Document) -> Iterator[Match]:
    for option, word in _told(node):
        match = DEVICE.fullmatch(word.value)
        if match is None:
            continue
        sure = DEVICE_OPTION.fullmatch(option) is not None and _is_option(option, node)
        fix = _renamed(word, "cuda", "npu", sure, document) if _is_option(option, node) else None
        confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
        yield Match(word.span, f"`{_said(option, word)}` names CUDA", fix, confidence=confidence)


@family.rule(
    708, "a program is told to use NCCL", Command, meaning=Meaning.RENAMED, source=OWN,
    advice="on Ascend pass hccl; a program that asks torch.distributed for the device's own "
    "backend needs no option",
)  # fmt: skip
def backend(node: Command, document: Document) -> Iterator[Match]:
    for option, word in _told(node):
        value = word.value.partition("=")[2] or word.value
        if value.strip("\"'") != "nccl":
            continue
        sure = BACKEND_OPTION.fullmatch(option) is not None and _is_option(option, node)
        fix = _renamed(word, "nccl", "hccl", sure, document) if _is_option(option, node) else None
        confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
        yield Match(word.span, f"`{_said(option, word)}` names NCCL", fix, confidence=confidence)


@family.rule(
    709, "a container is given GPUs", Command, meaning=Meaning.SIGNATURE, source=RUNTIME,
    advice="with Ascend Docker Runtime: --runtime=ascend -e ASCEND_VISIBLE_DEVICES=0-7; without: "
    "--device /dev/davinci0 (one for each chip), /dev/davinci_manager, /dev/devmm_svm, "
    "/dev/hisi_hdc, and the driver's folder /usr/local/Ascend/driver as a volume",
)  # fmt: skip
def container(node: Command, document: Document) -> Iterator[Match]:
    asked = {word.value for word in node.words}
    engine = node.program in ("docker", "podman", "nerdctl", "nvidia-docker", "docker-compose")
    if engine or node.words[0].value.startswith("--"):  # a list of options to be passed to it
        for before, word in zip(("", *(w.value for w in node.words)), node.words, strict=False):
            given = word.value.startswith("--gpus=") or before == "--gpus"
            runtime = word.value == "--runtime=nvidia" or (before, word.value) == (
                "--runtime",
                "nvidia",
            )
            if (given and (engine or word.value in ("all", "--gpus=all"))) or runtime:
                fix = _renamed(word, "nvidia", "ascend", False, document) if runtime else None
                yield Match(word.span, f"`{word.text}` gives a container GPUs", fix)
    elif node.program in ("singularity", "apptainer") and "--nv" in asked:
        word = next(word for word in node.words if word.value == "--nv")
        advice = "bind the driver and /dev/davinci* by --bind"
        yield Match(word.span, "`--nv` gives a container GPUs", None, advice)


@family.rule(
    710, "a program has an option about CUDA", Command, meaning=Meaning.RUNS, source=OWN,
    advice="see what the program does with it on Ascend",
)  # fmt: skip
def flag(node: Command, document: Document) -> Iterator[Match]:
    for word in node.words:
        if FLAG.fullmatch(word.value) and not DEVICE.fullmatch(word.value):
            says = f"`{word.text}` is about CUDA"
            yield Match(word.span, says, confidence=Confidence.UNSURE)


def _submitted(node: Command) -> tuple[Word, ...]:
    """The options of srun and its like, before the program that it runs."""
    starting = [n for n, word in enumerate(node.words[:3]) if word.value in SUBMITTERS]
    return node.words[starting[0] + 1 : node.at + 8] if starting else ()


def _asks(before: str, word: str) -> bool:
    if word.startswith("-"):
        return bool(
            re.match(r"--(?:gres|tres\S*)=.*gpu|--gpus(?:-per-\w+|-bind)?=", word)
            or re.match(r"-G\d", word)
        )
    if before in (
        "--gres",
        "-G",
        "--gpus",
        "--gpus-per-node",
        "--gpus-per-task",
        "--gpus-per-socket",
    ):
        return True
    return before in ("-l", "-q", "-gpu", "-R") and "gpu" in word


def _npu(word: Word, document: Document) -> Fix | None:
    """`--gres=gpu:8` as `--gres=npu:8`, where that is all that is said."""
    place = word.within("gpu")
    simple = re.fullmatch(r"(?:--gres=)?gpu(?::(?:\d+|\$\{?\w+\}?))?", word.value)
    if document.setting.portable or place is None or not simple:
        return None
    return Fix((Edit(place.start, place.end, "npu"),), Safety.UNSAFE)


def _told(node: Command) -> Iterator[tuple[str, Word]]:
    """Each word with the option that it belongs to: `--device cuda`, `--device=cuda`, `device=cuda`."""
    for before, word in zip(("", *(w.value for w in node.words)), node.words, strict=False):
        name, sign, _ = word.value.partition("=")
        if sign:
            yield name, word
        elif before.startswith("-"):
            yield before, word


def _is_option(option: str, node: Command) -> bool:
    """Whether a program is told something: `name=value` may also be text that one prints."""
    return option.startswith("-") or RUNNERS.match(node.program) is not None


def _said(option: str, word: Word) -> str:
    return word.text if "=" in word.value else f"{option} {word.text}"


def _renamed(word: Word, old: str, new: str, sure: bool, document: Document) -> Fix | None:
    place = word.within(old)
    if document.setting.portable or place is None:
        return None
    safety = Safety.SAFE if sure else Safety.UNSAFE
    return Fix((Edit(place.start, place.end, new),), safety)
