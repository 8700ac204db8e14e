"""A script of MindSpeed-LLM's fsdp2, whose options stand in a YAML file and behind it, as the step it asks for.

github.com/Ascend/MindSpeed-LLM c77308a examples/fsdp2: what is said in both counts as it is in the command.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

import yaml

from cordee.core.errors import UsageError
from cordee.core.shell.started import Script, Started
from cordee.plan.layout import Job, Layout
from cordee.plan.model import Model, model
from cordee.plan.scripts.launchers import processes
from cordee.plan.scripts.options import pairs

PROGRAM = "train_fsdp2.py"
ENDINGS = (".yaml", ".yml")
READ = frozenset(
    ("fsdp_size", "tp_size", "cp_size", "ep_size", "ep_fsdp_size", "recompute", "recompute_modules")
)
"""Of the section `parallel`, what is reckoned with; lists of modules say only where it holds."""


def training(read: Script) -> Started | None:
    """The command of a script that starts such a training, if one does."""
    found = [
        one
        for one in read.started
        if any(PurePosixPath(word).name == PROGRAM for word in one.words)
        and any(word.endswith(ENDINGS) for word in one.words)
    ]
    return found[-1] if found else None


def asked(
    path: Path, started: Started, given: Model | None, chips: int | None
) -> tuple[Job, tuple[str, ...]]:
    """The step, and what is said of it. Raises `UsageError` where something that it needs is not there."""
    at = next(n for n, word in enumerate(started.words) if word.endswith(".py"))
    file = next(word for word in started.words[at:] if word.endswith(ENDINGS))
    said = _Said(path, started, _sections(path, file) | _options(started.words[at + 1 :]))
    chips = chips or processes(started, at, path)
    found = given or said.model()
    shard = said.number("parallel.fsdp_size", chips)
    layout = Layout(
        chips=chips,
        tensor=said.number("parallel.tp_size", 1),
        context=said.number("parallel.cp_size", 1),
        expert=said.number("parallel.ep_size", 1),
        micro_batch=said.number("training.per_device_train_batch_size", 1),
        zero=3,
        shard_chips=shard if shard < chips else None,
        recompute="full" if said.words.get("parallel.recompute", "").lower() == "true" else "none",
        context_kind="all-to-all",
    )
    passes = said.number("training.gradient_accumulation_steps", 1)
    job = Job(
        model=found,
        layout=layout,
        sequence=said.number("data.cutoff_len"),
        batch=layout.data * layout.micro_batch * passes,
    )
    try:
        job.check()
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return job, tuple(said.remarks(given))


def _sections(path: Path, file: str) -> dict[str, str]:
    """Options of the YAML file, which is looked for as it is named, and beside the script."""
    tried = (Path(file), path.parent / file, path.parent / PurePosixPath(file).name)
    there = next((one for one in tried if one.is_file()), None)
    if there is None:
        raise UsageError(f"{path}: {file}, which has its options, is neither there nor beside it")
    try:
        read = yaml.safe_load(there.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{there}: it cannot be read: {error}") from error
    if not isinstance(read, dict):
        raise UsageError(f"{there}: sections such as `parallel:` are needed")
    return {
        f"{section}.{name}": str(value)
        for section, inner in read.items()
        if isinstance(inner, dict)
        for name, value in inner.items()
    }


def _options(words: tuple[str, ...]) -> dict[str, str]:
    return {name.removeprefix("--"): value for name, value in pairs(words) if "." in name}


class _Said:
    """All options, by section and name."""

    def __init__(self, path: Path, started: Started, words: Mapping[str, str]) -> None:
        self.path, self.started, self.words = path, started, words

    def number(self, name: str, usual: int | None = None) -> int:
        """Raises `UsageError` where it is none."""
        value = self.words.get(name, "" if usual is None else str(usual))
        if not value.isdecimal() or not 0 < int(value) < 10**9:
            raise UsageError(
                f"{self.path}, line {self.started.line}: {name} {value or 'is missing'}: a whole number above 0 is "
                "needed; write it there"
            )
        return int(value)

    def model(self) -> Model:
        """By its folder, or by the last part of its name."""
        name = self.words.get("model.model_name_or_path", "")
        if name and Path(name).exists():
            return model(name)
        with suppress(UsageError):
            return model(PurePosixPath(name).name)
        raise UsageError(
            f"{self.path}, line {self.started.line}: {name or 'model.model_name_or_path'}: its sizes are not known here: "
            "give its config.json or its name as MODEL"
        )

    def remarks(self, given: Model | None) -> Iterator[str]:
        """What is taken to be so, and what is left out."""
        if given is None and not Path(self.words.get("model.model_name_or_path", "")).exists():
            name = self.words.get("model.model_name_or_path", "")
            yield f"{self.path}: {name} is taken to have the sizes of its name"
        for name in self.words:
            section, _, inner = name.partition(".")
            if section == "parallel" and inner not in READ and not inner.endswith("_modules"):
                yield f"{self.path}: {name} {self.words[name]}: not understood, so the plan leaves it out"
