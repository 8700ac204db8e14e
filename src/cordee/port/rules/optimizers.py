"""NV54: optimizers with states in 8 bits, from those of torch.optim."""

import ast
import re
from collections.abc import Iterator

from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import unsafe
from cordee.port.python.spelling import spell
from cordee.port.rule import Family, Match

# Both decay weights apart from the gradient, as torch.optim.AdamW does; their decays by default.
DECAY = {
    **dict.fromkeys(("Adam", "Adam8bit", "Adam32bit", "PagedAdam", "PagedAdam8bit",
                     "PagedAdam32bit"), "0.0"),
    **dict.fromkeys(("AdamW", "AdamW8bit", "AdamW32bit", "PagedAdamW", "PagedAdamW8bit",
                     "PagedAdamW32bit"), "0.01"),
}  # fmt: skip
SAME = frozenset({"params", "lr", "betas", "eps", "weight_decay"})
PLACES = ("params", "lr", "betas", "eps", "weight_decay")
SOURCE = "github.com/bitsandbytes-foundation/bitsandbytes bitsandbytes/optim/adam.py, adamw.py"
family = Family("optimizers", "Optimizers in 8 bits", ("bitsandbytes",))


@family.rule(
    541, "an optimizer keeps its states in 8 bits", ast.Call, meaning=Meaning.SLOWER,
    advice="torch.optim.AdamW keeps them in 32 bits: four times the memory, the same formula",
    source=SOURCE,
)  # fmt: skip
def eight_bits(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    name = file.name(node.func) or ""
    package, _, last = name.rpartition(".")
    if not package.startswith("bitsandbytes.optim"):
        return
    decay = DECAY.get(last)
    if decay is None:
        advice = "take the one of torch.optim, or write it in PyTorch"
        yield Match(file.span(node.func), f"`{last}` is an optimizer of bitsandbytes", None, advice)
        return
    fix = unsafe(_adamw(node, decay, file))
    confidence = Confidence.CERTAIN
    yield Match(
        file.span(node.func), f"`{last}` is an optimizer of bitsandbytes", fix,
        confidence=confidence, effort=Effort.S,
    )  # fmt: skip


def _adamw(node: ast.Call, decay: str, file: PythonFile) -> Fix | None:
    """The same call of torch.optim.AdamW, its decay written out where the default is another."""
    starred = any(isinstance(arg, ast.Starred) for arg in node.args)
    given = {*PLACES[: len(node.args)], *(keyword.arg for keyword in node.keywords)}
    if starred or len(node.args) > len(PLACES) or not given <= SAME or not file.exact(node):
        return None
    spelling = spell(file, node, "torch.optim.AdamW")
    if spelling is None or "#" in file.text(node.func) or not node.args + node.keywords:
        return None
    span = file.span(node.func)
    edits = [*spelling.imports, Edit(span.start, span.end, spelling.text)]
    if "weight_decay" not in given and decay != "0.01":
        end = file.arguments(node).end
        edits.append(Edit(end, end, f"{_separator(node, file)}weight_decay={decay}"))
    return Fix(tuple(edits))


def _separator(node: ast.Call, file: PythonFile) -> str:
    """What goes between the last argument and one more."""
    ends = [file.span(each).end for each in (*node.args, *(k.value for k in node.keywords))]
    rest = file.source.text[max(ends) : file.arguments(node).end]
    return " " if "," in re.sub(r"#[^\n]*", "", rest) else ", "
