"""Derives the dtypes that the chip refuses from what the vendor publishes; prints a table.

    cordee run -- python tools/refusals.py --apis native_api.csv --adapter op-plugin \\
        --cann ops-math ops-nn ops-cv --exercised pairs.tsv > src/cordee/emulator/ops/refusals.toml

`--apis` is the adapter's list of PyTorch's interfaces with the dtypes each takes (columns api and
limits), `--adapter` a checkout of Ascend/op-plugin, `--cann` checkouts of CANN's operator
libraries, `--exercised` lines "operator<TAB>dtype" of what the adapter's own tests give.

The vendor's lists disagree with each other, so a dtype is refused only where all of them do
without it: CANN's document and code of every function that the adapter calls for the operator,
every interface of the adapter's list that names dtypes, and the adapter's own tests.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cordee.emulator.ops.ways import registered

HEAD = """\
# Dtypes that the chip refuses, by operator. Written by tools/refusals.py from CANN's documents and
# code, the adapter's code and its list of interfaces; all of them do without these dtypes.
"""

WIDE = ("float64", "complex64", "complex128", "complex32")
NARROW = ("uint8", "int8", "int16", "int32", "int64", "bool", "float8_e4m3fn", "float8_e5m2")
# Elsewhere the adapter may convert integers to float32 before it calls CANN.
PRODUCTS = re.compile(r"(add)?(mm|mv|bmm)|baddbmm|matmul(_backward)?|dot|_?conv(olution)?(_.*)?")
LISTS = ("npu::", "fsdp::", "_foreach_", "_fused_", "_chunk_cat")

DOCUMENT = {  # as CANN's documents write dtypes
    **{name: name.lower() for name in ("BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64")},
    **{name: name.lower() for name in ("COMPLEX32", "COMPLEX64", "COMPLEX128", "BFLOAT16")},
    # Floats of 8 bits are left out: only chips later than those emulated have them.
    "FLOAT16": "float16",
    "FLOAT32": "float32",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT64": "float64",
}
API = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "fp64": "float64"}
CODE = {"float64": "DT_DOUBLE", "complex64": "DT_COMPLEX", "complex128": "DT_COMPLEX"}
ONLY = re.compile(r"仅支持([a-z0-9，, ]+)")
BACK_TO_CPU = "回退至CPU"

# Under which names PyTorch's interface leads to an operator of another name.
INTERFACES = {
    "convolution_overrideable": [f"torch.nn.functional.conv{n}d" for n in (1, 2, 3)],
    "convolution_backward_overrideable": [f"torch.nn.functional.conv{n}d" for n in (1, 2, 3)],
    "_softmax": ["torch.softmax", "torch.Tensor.softmax", "torch.nn.functional.softmax"],
    "_log_softmax": ["torch.log_softmax", "torch.nn.functional.log_softmax"],
    "native_layer_norm": ["torch.nn.functional.layer_norm", "torch.nn.LayerNorm"],
    "native_group_norm": ["torch.nn.functional.group_norm", "torch.nn.GroupNorm"],
    "native_batch_norm": ["torch.nn.functional.batch_norm", "torch.nn.BatchNorm2d"],
}
# The function of the adapter that carries out the operator of another name.
FUNCTIONS = {
    "convolution_overrideable": "_convolution",
    "convolution_backward_overrideable": "convolution_backward",
}


@dataclass
class Function:
    """What CANN publishes about one of its functions."""

    documents: list[str] = field(default_factory=list)
    documented: set[str] = field(default_factory=set)
    code: str = ""


def functions(checkouts: list[Path]) -> dict[str, Function]:
    """CANN's functions by name, without the "Inplace" of their second forms."""
    found: dict[str, Function] = {}
    for checkout in checkouts:
        for path in sorted(checkout.rglob("docs/aclnn*.md")):
            if "experimental" in path.parts:
                continue
            for name in path.stem.split("&"):
                function = found.setdefault(_plain(name), Function())
                function.documents.append(f"{checkout.name} {path.relative_to(checkout)}")
                function.documented |= set(_documented(path.read_text("utf-8")))
        for path in sorted(checkout.rglob("op_api/aclnn_*.cpp")):
            name = path.stem.replace("_", "").lower()
            found.setdefault(name, Function()).code += path.read_text("utf-8")
    return found


def _plain(name: str) -> str:
    return name.replace("Inplace", "").replace("_", "").lower()


def _documented(text: str) -> Iterator[str]:
    for table in re.findall(r"<table.*?</table>", text, re.S):
        rows = [
            [
                re.sub(r"<[^>]+>", "", cell).strip()
                for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)
            ]
            for row in re.findall(r"<tr>.*?</tr>", table, re.S)
        ]
        for row in rows[1:]:
            # A value that is no tensor has no shape; its dtype says nothing about tensors.
            is_value = len(row) == len(rows[0]) and len(row) > 1 and row[-2] in ("-", "")
            if "数据类型" in rows[0] and not is_value:
                yield from _names(" ".join(row[2:]))
    for line in text.splitlines():
        if "aclTensor" in line and "数据类型" in line:  # older documents are lists
            yield from _names(line)


def _names(text: str) -> Iterator[str]:
    for word in re.findall(r"[A-Z][A-Z0-9_]+", text):
        if word in DOCUMENT:
            yield DOCUMENT[word]


def calls(adapter: Path) -> dict[str, set[str]]:
    """CANN's functions that the adapter's function of that name may call."""
    found: dict[str, set[str]] = {}
    table = yaml.safe_load(
        (adapter / "op_plugin/config/op_plugin_functions.yaml").read_text("utf-8")
    )
    for entry in (entry for part in table.values() if isinstance(part, list) for entry in part):
        run = entry.get("gen_opapi", {}).get("exec") if isinstance(entry, dict) else None
        if run:
            name = re.split(r"[.(]", entry["func"])[0]
            found.setdefault(name, set()).add(_plain(run.split(",")[0]))
    for path in sorted((adapter / "op_plugin/ops/opapi").rglob("*.cpp")):
        text = path.read_text("utf-8")
        # Names that end in Api are parameters of macros.
        called = {_plain(name) for name in re.findall(r"\b(aclnn\w+)\b", text)}
        called = {name for name in called if not name.endswith("api")}
        for name in re.findall(r"^[\w:<>,&\s]*?[&>\s](\w+)\(\s*(?:const )?[\w:<>]+", text, re.M):
            found.setdefault(name, set()).update(called)
    return found


def branches(adapter: Path) -> set[str]:
    """The adapter's functions in files that treat double or complex numbers on their own."""
    found = set()
    for path in (adapter / "op_plugin/ops/opapi").rglob("*.cpp"):
        text = path.read_text("utf-8")
        if re.search(r"kDouble|::Double|kComplex|::Complex|isComplex|is_complex", text):
            found |= set(re.findall(r"\b(\w+)\(", text))
    return found


def interfaces(table: Path) -> dict[str, list[str]]:
    with table.open(encoding="utf-8") as file:
        found: dict[str, list[str]] = {}
        for row in csv.DictReader(file):
            found.setdefault(row["api"], []).append(row["limits"])
        return found


def excluded(operator: str, apis: dict[str, list[str]], dtypes: set[str]) -> set[str]:
    """Those of `dtypes` that no interface of `operator` names; none if one may use the CPU."""
    base = operator.strip("_")
    names = INTERFACES.get(operator, []) + [
        f"torch.{place}{name}"
        for place in ("", "Tensor.", "nn.functional.", "special.", "linalg.", "fft.")
        for name in {base, f"{base}_", base.removeprefix("linalg_"), base.removeprefix("special_")}
    ]
    limits = [limit for name in names for limit in apis.get(name, [])]
    if any(BACK_TO_CPU in limit for limit in limits):
        return set()
    for limit in limits:
        for listed in ONLY.findall(limit):
            dtypes = dtypes - {API.get(word, word) for word in re.split(r"[，, ]+", listed)}
    return dtypes


def refused(
    operator: str, run: list[Function], apis: dict[str, list[str]], by_itself: bool
) -> set[str]:
    """The dtypes that all sources do without. `by_itself`: the adapter treats wide ones itself."""
    is_product = PRODUCTS.fullmatch(operator.removesuffix("_")) is not None
    if not run or not all(function.documented for function in run):
        return set()
    if not is_product and not any("DT_FLOAT" in function.code for function in run):
        return set()
    dtypes = set() if by_itself else set(WIDE)
    dtypes |= set(NARROW) if is_product else set()
    for function in run:
        dtypes -= function.documented
        if not is_product:  # what code says of products it says of their scalars, too
            dtypes -= {dtype for dtype, word in CODE.items() if word in function.code}
    if not dtypes & {"complex64", "complex128"}:
        dtypes.discard("complex32")
    return excluded(operator, apis, dtypes)


def refusals(options: argparse.Namespace) -> Iterator[tuple[str, tuple[str, ...], list[Function]]]:
    """Each operator that refuses dtypes, these, and what CANN says of the functions it calls."""
    known, called, apis = functions(options.cann), calls(options.adapter), interfaces(options.apis)
    by_itself = branches(options.adapter)
    exercised = {tuple(line.split("\t")) for line in options.exercised.read_text().splitlines()}
    names = {name.removeprefix("aten::").partition(".")[0] for name in registered("PrivateUse1")}
    # Operators over lists fall back to one call per tensor, which has a row of its own.
    for operator in sorted(name for name in names if not name.startswith(LISTS)):
        plain = FUNCTIONS.get(operator, operator.removesuffix("_"))
        forms = {plain, f"{plain}_out", f"{plain}_"}
        run = [
            known.get(name, Function())
            for name in sorted(set().union(*(called.get(form, set()) for form in forms)))
        ]
        dtypes = refused(operator, run, apis, bool(forms & by_itself))
        dtypes -= {dtype for name, dtype in exercised if name in {operator, plain}}
        if dtypes:
            yield operator, tuple(sorted(dtypes)), run


def table(options: argparse.Namespace) -> Iterator[str]:
    rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for operator, dtypes, run in refusals(options):
        supported = sorted(set().union(*(function.documented for function in run)))
        documents = sorted({f"gitcode.com/cann/{d}" for f in run for d in f.documents})
        rows[_list(dtypes), _list(supported), ", ".join(documents)].append(operator)
    for (dtypes, supported, source), operators in rows.items():
        yield "[[row]]"
        yield f"operators = {_list(operators)}"
        yield f"dtypes = {dtypes}"
        yield f"supported = {supported}"
        yield f'source = "{source}"\n'


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apis", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--cann", type=Path, nargs="+", required=True)
    parser.add_argument("--exercised", type=Path, required=True)
    print(HEAD, *table(parser.parse_args()), sep="\n")


if __name__ == "__main__":
    main()
