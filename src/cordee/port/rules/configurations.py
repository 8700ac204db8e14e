"""NV91: values in configurations that name CUDA, NCCL or GPUs."""

import re
from collections.abc import Iterator

from cordee.port.documents.data import DataFile
from cordee.port.documents.entries import Entry
from cordee.port.documents.scripts import is_script
from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning, Safety
from cordee.port.rule import Family, Match
from cordee.port.rules.options import option

DEVICE = re.compile(r"cuda(?::\d+)?")
DEVICE_KEY = re.compile(
    r"(?:\w+[_\-])?(?:dev|devices?|device[_\-]?(?:type|map|name)|map_location|accelerator)"
)
BACKEND_KEY = re.compile(r"(?:\w+[_\-])?backend(?:_name)?")
# Words for people, not settings.
SAID = frozenset({"name", "title", "description", "label", "labels", "tags", "topics", "keywords", "summary", "text",
                  "language", "id", "key", "exclude", "include", "ignore", "words"})  # fmt: skip
GPU_KEY = re.compile(
    r"(?:use_|enable_|n_|num_|no_|with_|max_)?(?:gpus?|cuda|cudnn|nccl)(?:_ids?|_num|_per_\w+|_count|_devices?|_\w+)?"
)
OWN = "inferred: the program's own setting"

family = Family(
    "configurations",
    "Configurations",
    ("cuda", "nccl", "gpu", "flash_att", "flash_attn", "fp8", "adamw_", "load_in_", "tf32", "zero_optimization",
     "bitsandbytes", "fused"),
    skips=("python", "requirements", "shell", "dockerfile"),
)  # fmt: skip


@family.rule(
    911, "a setting names a CUDA device", Entry, source=OWN,
    advice="on Ascend npu; a setting that is left out, where the program then takes "
    "torch.accelerator.current_accelerator(), serves both",
)  # fmt: skip
def device(node: Entry, document: DataFile) -> Iterator[Match]:
    if (
        node.value is None
        or not DEVICE.fullmatch(node.value)
        or node.key.lower() in SAID
        or is_script(node)
    ):
        return
    sure = DEVICE_KEY.fullmatch(node.key.lower().lstrip("-")) is not None
    yield _renamed(node, "cuda", "npu", sure, document)


@family.rule(
    912, "a setting names NCCL", Entry, source=OWN,
    advice="on Ascend hccl; a setting that is left out, where the program then asks "
    "torch.distributed for the device's own backend, serves both",
)  # fmt: skip
def backend(node: Entry, document: DataFile) -> Iterator[Match]:
    if node.value != "nccl" or node.key.lower() in SAID or is_script(node):
        return
    sure = BACKEND_KEY.fullmatch(node.key.lower().lstrip("-")) is not None
    yield _renamed(node, "nccl", "hccl", sure, document)


@family.rule(913, "a framework's setting means another thing on Ascend", Entry)
def framework(node: Entry, document: DataFile) -> Iterator[Match]:
    row = option(node, document)
    listed = node.path and isinstance(node.path[-1], int)
    if row is None or (listed and row.key != "*"):
        return
    fix = None
    if row.native and node.inner is not None and not document.setting.portable:
        fix = Fix((Edit(node.inner.start, node.inner.end, row.native),))
    said = f"{node.key}: {node.value}" if node.value else node.key
    yield Match(
        node.whole, f"`{said}`: {row.meaning} on Ascend", fix, row.advice, Meaning(row.meaning),
        Effort(row.effort), source=row.source,
    )  # fmt: skip


@family.rule(
    914, "Lightning is told to use GPUs", Entry, meaning=Meaning.SIGNATURE, effort=Effort.M,
    advice="Lightning has no accelerator for NPUs: an Accelerator of one's own, and "
    'process_group_backend="hccl"',
    source="https://gitee.com/xiaoloongfang/lightning_npu",
)  # fmt: skip
def lightning(node: Entry, document: DataFile) -> Iterator[Match]:
    if node.key == "accelerator" and node.value in ("gpu", "cuda", "ddp"):
        if node.value == "cuda":
            return  # told by the rule about devices
        yield Match(
            node.whole,
            f"`accelerator: {node.value}` is likely Lightning's",
            confidence=Confidence.LIKELY,
        )
    elif node.key == "gpus" and "trainer" in {key.lower() for key in node.keys[:-1]}:
        yield Match(
            node.whole, "`gpus` is an old setting of Lightning's", confidence=Confidence.LIKELY
        )


@family.rule(
    915, "a setting is about GPUs", Entry, meaning=Meaning.RUNS, source=OWN,
    advice="see what the program does with it on Ascend",
)  # fmt: skip
def about_gpus(node: Entry, document: DataFile) -> Iterator[Match]:
    environment = node.key.isupper()
    if not node.key_span or node.value is None or environment or "services" in document.top:
        return
    if not re.fullmatch(r"true|false|yes|no|on|off|-?\d+|auto|all|null|~", node.value.lower()):
        return
    if GPU_KEY.fullmatch(str(node.path[-1]).lower()) and not option(node, document):
        yield Match(
            node.whole, f"`{node.key}: {node.value}` is about GPUs", confidence=Confidence.UNSURE
        )


def _renamed(node: Entry, old: str, new: str, sure: bool, document: DataFile) -> Match:
    fix = None
    if node.inner is not None and not document.setting.portable:
        start = node.inner.start
        safety = Safety.SAFE if sure else Safety.UNSAFE
        fix = Fix((Edit(start, start + len(old), new),), safety)
    confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
    says = f"`{node.key}: {node.value}` names {'CUDA' if old == 'cuda' else 'NCCL'}"
    return Match(node.whole, says, fix, confidence=confidence)
