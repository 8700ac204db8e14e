"""NV80: images made for NVIDIA, and containers and pods that are given GPUs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.documents.data import DataFile
from cordee.port.documents.dockerfile import Instruction
from cordee.port.documents.entries import Entry
from cordee.port.documents.words import Assignment, Command
from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning, Safety
from cordee.port.python.file import Span
from cordee.port.rule import Document, Family, Match

IMAGE = re.compile(
    r"[a-z0-9][\w.\-]*(?::\d+)?(?:/[\w.\-]+)*(?::[\w.\-${}]+)?(?:@sha256:[0-9a-f]+)?"
)
IMAGE_KEYS = frozenset({"image", "container", "container_image", "docker_image", "dockerimage", "base_image",
                        "repository", "imagename", "image_name", "base", "name", "docker"})  # fmt: skip
ENGINES = frozenset(
    {"docker", "podman", "nerdctl", "singularity", "apptainer", "enroot", "nvidia-docker"}
)
RUNTIME = "https://www.hiascend.com/document/detail/en/mindcluster/730/clustersched/schedulingug/dlruntime_ug_007.html"
EXPORTER = (
    "https://www.hiascend.com/document/detail/zh/mindcluster/730/clustersched/dlug/mxdlug_005.html"
)
RESOURCE = (
    "huawei.com/Ascend910 with the same count (huawei.com/Ascend310P, or huawei.com/ascend-1980 on "
    "Huawei Cloud, as the cluster's device plugin names it); one manifest cannot ask for either: "
    "add an overlay or a value for Ascend"
)

family = Family(
    "containers",
    "Images, containers and clusters",
    ("cuda", "nvidia", "nvcr.io", "-gpu", "_gpu", "gpu:", "gpus", '"gpu"', "rapidsai", "deepspeed/deepspeed",
     "vllm/vllm-openai", "pytorch/pytorch", "huggingface/accelerate"),
    skips=("python", "requirements"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Fact):
    """Images with names and tags like these; where one may do on Ascend, `native` has it."""

    name: str
    tag: str = "*"
    native: str = ""
    advice: str
    effort: str


@family.rule(801, "an image is built on one for NVIDIA", Instruction, meaning=Meaning.MISSING)
def built_on(node: Instruction, document: Document) -> Iterator[Match]:
    words = [word for word in node.words if not word.value.startswith("--")]
    wanted = words[:1] if node.name == "FROM" else []
    if node.name == "COPY":
        wanted = [w for w in node.words if w.value.startswith("--from=") and "/" in w.value]
    for word in wanted:
        name = word.value.removeprefix("--from=")
        if row := image(name):
            fix = _based(word.span, name, row, document) if node.name == "FROM" else None
            yield _image(word.span, name, row, fix)


@family.rule(802, "an image for NVIDIA is run", Entry, Command, Assignment, meaning=Meaning.MISSING)
def run(node: Entry | Command | Assignment, document: Document) -> Iterator[Match]:
    if isinstance(node, Assignment):
        named = re.search(r"IMAGE|^BASE", node.name) and document.kind in ("dockerfile", "shell")
        if named and "/" in node.value.value and (row := image(node.value.value)):
            yield _image(node.value.span, node.value.value, row, None)
    elif isinstance(node, Entry):
        if node.value and node.inner and node.key.lower() in IMAGE_KEYS and _is_image(node):
            row = image(node.value.removeprefix("docker://"))
            if row is not None:
                yield _image(node.inner, node.value, row, None)
    elif node.program in ENGINES:
        for word in node.arguments:
            row = (
                None if word.value.startswith("-") else image(word.value.removeprefix("docker://"))
            )
            if row is not None and re.search("[/:]", word.value) and "=" not in word.value:
                yield _image(word.span, word.value, row, None)


@family.rule(
    804, "a service is given NVIDIA's GPUs", Entry, meaning=Meaning.SIGNATURE, source=RUNTIME,
    advice="for Ascend: runtime: ascend, and ASCEND_VISIBLE_DEVICES in the service's environment "
    "instead of a reservation; put it into a compose file of its own, named behind -f",
)  # fmt: skip
def service(node: Entry, document: DataFile) -> Iterator[Match]:
    if "services" not in document.top or node.value is None:
        return
    if node.key == "runtime" and node.value == "nvidia":
        fix = _native(node, "ascend", document)
        yield Match(node.whole, "`runtime: nvidia` is NVIDIA's container runtime", fix)
    elif (
        "devices" in node.keys
        and node.key in ("driver", "capabilities")
        and node.value in ("nvidia", "gpu")
    ):
        yield Match(node.whole, f"`{node.value}` reserves NVIDIA's GPUs")
    elif node.key == "gpus":
        yield Match(node.whole, "`gpus` gives the service NVIDIA's GPUs")


@family.rule(
    805, "a pod asks for NVIDIA's GPUs", Entry, meaning=Meaning.RENAMED, advice=RESOURCE,
    source="https://www.hiascend.com/document/detail/en/mindcluster/730/clustersched/schedulingug/dlruntime_ug_007.html; "
    "github.com/vllm-project/aibrix samples/vllm-ascend/job.yaml:50",
)  # fmt: skip
def resource(node: Entry, document: DataFile) -> Iterator[Match]:
    name = str(node.path[-1]) if node.path else ""
    asked = re.fullmatch(
        r"(?:requests\.|limits\.)?nvidia\.com/(gpu(?:\.shared)?|mig-[\w.\-]+)", name
    )
    if asked is None or node.key_span is None:
        return
    whole = asked[1] == "gpu"
    fix = None
    if whole and not document.setting.portable:
        at = node.key_span.start + name.index("nvidia.com")
        edit = Edit(at, node.key_span.end, "huawei.com/Ascend910")
        fix = Fix((edit,), Safety.UNSAFE)
    effort = Effort.S if whole else Effort.M
    yield Match(node.whole, f"`{name}` is a resource of NVIDIA's device plugin", fix, effort=effort)


@family.rule(
    806, "a pod is placed by NVIDIA's labels", Entry, meaning=Meaning.RENAMED, source=EXPORTER,
    advice="the labels and taints are those that the cluster gives its Ascend nodes, such as "
    "accelerator: huawei-Ascend910; `kubectl describe node` shows them",
)  # fmt: skip
def placed(node: Entry, document: DataFile) -> Iterator[Match]:
    name = str(node.path[-1]) if node.path else ""
    if node.key_span and re.match(r"(?:\w+\.)?nvidia\.com/(?!gpu$|gpu\.shared$|mig-)", name):
        yield Match(node.whole, f"`{name}` is a label of NVIDIA's")
    elif node.value and re.match(r"(?:\w+\.)?nvidia\.com/", node.value):
        yield Match(node.whole, f"`{node.value}` is a label or taint of NVIDIA's")
    elif node.key in ("cloud.google.com/gke-accelerator", "accelerator") and "nvidia" in (
        node.value or ""
    ):
        yield Match(node.whole, f"`{node.value}` is a kind of NVIDIA's GPUs")


@family.rule(
    807, "a pod runs in NVIDIA's runtime", Entry, meaning=Meaning.RENAMED, source=RUNTIME,
    advice="runtimeClassName: ascend, where Ascend Docker Runtime is installed as such a class",
)  # fmt: skip
def runtime(node: Entry, document: DataFile) -> Iterator[Match]:
    if node.key == "runtimeClassName" and node.value == "nvidia":
        fix = _native(node, "ascend", document)
        yield Match(node.whole, "`runtimeClassName: nvidia` is NVIDIA's runtime", fix)


@family.rule(
    808, "a pipeline runs on a computer with GPUs", Entry, meaning=Meaning.RUNS,
    advice="for Ascend, a job on a runner of its own with an NPU",
    source="inferred: labels of runners are the project's own",
)  # fmt: skip
def runner(node: Entry, document: DataFile) -> Iterator[Match]:
    pipeline = "jobs" in document.top or ".gitlab-ci" in document.source.path
    if (
        not pipeline
        or "with" in node.keys
        or node.key not in ("runs-on", "tags", "group", "labels", "runner")
    ):
        return
    if node.value and re.search(
        r"gpu|cuda|nvidia|a100|h100|\bt4\b|\bv100\b", node.value, re.IGNORECASE
    ):
        yield Match(
            node.whole, f"`{node.value}` is likely a runner with GPUs", confidence=Confidence.LIKELY
        )


@family.rule(
    809, "a development container asks for GPUs", Entry, meaning=Meaning.SIGNATURE, source=RUNTIME,
    advice="runArgs with --runtime=ascend and -e ASCEND_VISIBLE_DEVICES, or --device /dev/davinci0 ...",
)  # fmt: skip
def development(node: Entry, document: DataFile) -> Iterator[Match]:
    if "devcontainer" in document.source.path and node.keys == ("hostRequirements", "gpu"):
        yield Match(node.whole, "the container asks for a GPU")


def image(name: str) -> Image | None:
    """The row for an image, or None where it is not for NVIDIA as far as its name says."""
    bare = name.partition("@")[0]
    path, colon, tag = bare.rpartition(":")
    if not colon or "/" in tag:
        path, tag = bare, ""
    if not IMAGE.fullmatch(name) or path.startswith(("quay.io/ascend", "http")):
        return None
    return next(
        (r for r in _images() if fnmatch(path, r.name) and fnmatch(tag.lower(), r.tag)), None
    )


@cache
def _images() -> tuple[Image, ...]:
    return tuple(rows(files(__package__) / "images.toml", Image))


def _image(span: Span, name: str, row: Image, fix: Fix | None) -> Match:
    says = f"`{name}` is an image for NVIDIA's GPUs"
    return Match(span, says, fix, row.advice, effort=Effort(row.effort), source=row.source)


def _based(span: Span, name: str, row: Image, document: Document) -> Fix | None:
    if document.setting.portable or not row.native or "$" in name:
        return None
    start = span.end - len(name)
    return Fix((Edit(start, span.end, row.native),), Safety.UNSAFE)


def _is_image(node: Entry) -> bool:
    return "/" in (node.value or "") or ":" in (node.value or "")


def _native(node: Entry, value: str, document: Document) -> Fix | None:
    if document.setting.portable or node.inner is None:
        return None
    return Fix((Edit(node.inner.start, node.inner.end, value),), Safety.UNSAFE)
