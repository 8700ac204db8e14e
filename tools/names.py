"""Derives which names each version of torch and torch-npu offers from the published wheels.

    python tools/names.py --wheels FOLDER src/cordee/port/names

FOLDER holds one wheel of torch and one of torch-npu for every minor version, as `pip download
--no-deps` leaves them; any platform's will do, for only their Python sources are read. Two tables
are written, torch.txt and torch_npu.txt.
"""

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from wheels import Bound, Wheel

HEAD = """\
# What {project} offers, by version. Written by tools/names.py; not to be edited by hand.
# source: the Python sources in the {project} wheels {wheels}
# name, first version, last version ("-": still there), parameters ("-": not known from a source)
versions {versions}
"""

# Modules whose names are listed, and how many levels of modules below them.
MODULES = {
    "torch": {
        "torch.accelerator": 1,
        "torch.amp": 1,
        "torch.backends.cuda": 0,
        "torch.backends.cudnn": 0,
        "torch.cuda": 2,
        "torch.distributed": 0,
        "torch.nn.attention": 1,
        "torch.nn.functional": 0,
        "torch.profiler": 1,
    },
    "torch_npu": {
        "torch_npu.npu": 2,
        "torch_npu.asd": 0,
        "torch_npu.contrib": 1,
        "torch_npu.distributed": 0,
        "torch_npu.dynamo": 0,
        "torch_npu.multiprocessing": 0,
        "torch_npu.optim": 0,
        "torch_npu.profiler": 1,
        "torch_npu.utils": 0,
        "torch_npu.utils.cpp_extension": 0,
    },
}
# Names of torch itself that a port may want; it has a thousand more.
OF_TORCH = re.compile(
    r"Event|Stream|Generator|compile|device|\w*autocast\w*|get_device_module|accelerator"
    r"|[gs]et_(default_device|float32_matmul_precision|default_tensor_type|rng_state)"
    r"|use_deterministic_algorithms|are_deterministic_algorithms_enabled|manual_seed"
)
SCHEMA = re.compile(r"(?P<name>\w+)(?P<overload>\.\w+)?\((?P<arguments>.*)\) *->")
DTYPE = re.compile(r"(hi)?float\d|u?int\d")
DTYPES = "torch_npu/op_plugin/meta/_meta_registrations.py"  # uses those that C code binds
OPERATORS = "torch_npu/utils/custom_ops.py"  # binds torch_npu.<operator>, one a line
ADDED = re.compile(r"torch\.distributed\.(\w+) = torch_npu\.distributed\.\1\n")
ADDED_BY_LIST = re.compile(r'"distributed\.(\w+)",\s+"distributed\.\1"')
SCHEMAS = "torch_npu/csrc/aten/npu_native_functions_by_codegen.yaml"
ATB = "torch_npu.op_plugin.atb._atb_ops"
ATB_LISTS = {"API_LIST": "torch_npu", "ATB_API_LIST": "torch_npu.atb"}

Parameters = tuple[str, ...] | None
Names = dict[str, Parameters]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("tables", type=Path, help="the folder that the tables go to")
    asked = parser.parse_args()
    for project in MODULES:
        found = sorted(map(Wheel, asked.wheels.glob(f"{project}-[0-9]*.whl")), key=release)
        table = asked.tables / f"{project}.txt"
        table.write_text(written(project, found), "utf-8")
        print(f"{table}: {len(table.read_text('utf-8').splitlines())} lines")


def release(wheel: Wheel) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", wheel.version)))


def written(project: str, found: list[Wheel]) -> str:
    """The table of `project`, whose wheels are given from the oldest to the newest."""
    minors = [".".join(map(str, release(wheel)[:2])) for wheel in found]
    if len(set(minors)) < len(minors):
        raise SystemExit(f"{project}: two wheels of one minor version: {', '.join(minors)}")
    offers = [{**modules(wheel, MODULES[project]), **operators(wheel)} for wheel in found]
    head = HEAD.format(
        project=project.replace("_", "-"),
        wheels=", ".join(wheel.version for wheel in found),
        versions=" ".join(minors),
    )
    return head + "".join(f"{line}\n" for line in lines(minors, offers))


def lines(minors: list[str], offers: list[Names]) -> Iterator[str]:
    """One line for a name in versions without a break in which its parameters are the same."""
    for name in sorted({name for offer in offers for name in offer}):
        first = 0
        for here in range(1, len(minors) + 1):
            before = offers[here - 1]
            if here < len(minors) and state(offers[here], name) == state(before, name):
                continue
            if name in before:
                last = minors[here - 1] if here < len(minors) else "-"
                yield f"{name} {minors[first]} {last} {spelt(before[name])}"
            first = here


def state(offer: Names, name: str) -> tuple[bool, Parameters]:
    return name in offer, offer.get(name)


def spelt(parameters: Parameters) -> str:
    return "-" if parameters is None else f"({','.join(parameters)})"


def modules(wheel: Wheel, wanted: dict[str, int]) -> Names:
    """The names of the modules, each under the name by which programs know it."""
    found: Names = {
        f"torch.{name}": bound.parameters
        for name, bound in (wheel.public("torch") if "torch.cuda" in wanted else {}).items()
        if OF_TORCH.fullmatch(name)
    }
    for module, levels in wanted.items():
        if wheel.file(module) is not None:  # some came later than this version
            found |= dict(listed(wheel, module, levels))
    return found


def listed(wheel: Wheel, module: str, levels: int) -> Iterator[tuple[str, Parameters]]:
    """`module`, its names and its modules, and those of `levels` levels of modules below it."""
    yield known_as(module), None
    names = wheel.public(module)
    for name in wheel.submodules(module):
        # A class hides the module of the same name that it comes from.
        if name not in names or not hides(names[name], f"{module}.{name}"):
            if levels:
                yield from listed(wheel, f"{module}.{name}", levels - 1)
            yield f"{known_as(module)}.{name}", None
    if module.startswith(("torch.cuda", "torch_npu.npu")):
        names |= wheel.private_functions(module)  # some of them are widely used
    yield from entries(known_as(module), names)


def hides(bound: Bound, module: str) -> bool:
    """Whether a name that a module of the same name exists for stands for something else."""
    return module != (f"{bound.module}.{bound.source}" if bound.source else bound.module)


def known_as(module: str) -> str:
    """torch_npu.npu is registered as torch.npu."""
    return re.sub(r"^torch_npu\.npu\b", "torch.npu", module)


def entries(module: str, names: dict[str, Bound]) -> Iterator[tuple[str, Parameters]]:
    for name, bound in names.items():
        yield f"{module}.{name}", bound.parameters
        for member in bound.members:
            yield f"{module}.{name}.{member}", None


def operators(wheel: Wheel) -> Names:
    """torch_npu.<operator> and what else is bound to names of torch_npu itself."""
    if wheel.file("torch_npu") is None:
        return {}
    found: Names = {
        name: bound.parameters
        for name, bound in wheel.public("torch_npu").items()
        if wheel.file(f"torch_npu.{name}") is None
    }
    found |= dict.fromkeys((wheel.namespace("torch_npu").listed or set()) - found.keys())
    schemas = schema_parameters(schemas_listed(wheel))
    for name in re.findall(r"^torch_npu\.(\w+) =", wheel.text(OPERATORS), re.M):
        found[name] = schemas.get(name)
    # Some are defined in Python; what is then bound again may take other parameters.
    for file in wheel.files("torch_npu/npu/"):
        text = wheel.text(file)
        found |= schema_parameters(re.findall(r'_npu_lib\.define\(\s*"([^"]+)"', text))
        found |= dict.fromkeys(re.findall(r"^ *torch_npu\.(\w+) = ", text, re.M))
    found |= dict.fromkeys(dtypes(wheel))
    found = {f"torch_npu.{name}": given for name, given in found.items()}
    return (
        {"torch_npu": None}
        | found
        | dict.fromkeys((*atb(wheel), *added_to_torch(wheel), *activities(wheel)))
    )


def added_to_torch(wheel: Wheel) -> Iterator[str]:
    """Functions that the adapter puts into torch.distributed under the names that they have here."""
    wheres = ("torch_npu/__init__.py", *wheel.files("torch_npu/_init/"))
    text = "\n".join(map(wheel.text, wheres))
    for name in ADDED.findall(text) + ADDED_BY_LIST.findall(text):
        yield f"torch.distributed.{name}"


def activities(wheel: Wheel) -> Iterator[str]:
    """The members of an enumeration in C, as the adapter's own sources use them."""
    for file in wheel.files("torch_npu/profiler/"):
        for member in re.findall(r"\bProfilerActivity\.([A-Z]+)\b", wheel.text(file)):
            yield f"torch_npu.profiler.ProfilerActivity.{member}"
    if 'alias = "NPU"' in wheel.text("torch_npu/_init/registry/backend.py"):
        yield "torch.profiler.ProfilerActivity.NPU"


def dtypes(wheel: Wheel) -> Iterator[str]:
    for node in ast.walk(ast.parse(wheel.text(DTYPES))):
        match node:
            case ast.Attribute(value=ast.Name("torch_npu"), attr=name) if DTYPE.match(name):
                yield name


def schemas_listed(wheel: Wheel) -> Iterator[str]:
    for section in (yaml.load(wheel.text(SCHEMAS), yaml.CSafeLoader) or {}).values():
        for entry in section if isinstance(section, list) else ():
            yield entry["func"] if isinstance(entry, dict) else entry


def schema_parameters(schemas: Iterable[str]) -> Names:
    """The parameters of each operator, where all of its schemas have the same ones."""
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for text in schemas:
        schema = SCHEMA.match(text)
        if schema:
            given = tuple(argument_names(schema["arguments"]))
            found[schema["name"]][schema["overload"] or ""] = given
    return {name: only(ways) for name, ways in found.items()}


def only(ways: dict[str, tuple[str, ...]]) -> Parameters:
    called = {parameters for way, parameters in ways.items() if way != ".out"}
    return called.pop() if len(called) == 1 else None


def argument_names(arguments: str) -> Iterable[str]:
    """`Tensor(a!) self, int[2] size=[1, 1], *, str? name=None` -> self, size, *, name."""
    bare = re.sub(r"\([^)]*\)|\[[^\]]*\]|\"[^\"]*\"", "", arguments)
    return (part.partition("=")[0].split()[-1] for part in bare.split(",") if part.strip())


def atb(wheel: Wheel) -> Iterator[str]:
    """Operators of the library ATB."""
    for statement in ast.parse(wheel.text(wheel.file(ATB) or "")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(listed)], value=ast.List(elts)) if (
                listed in ATB_LISTS
            ):
                for element in elts:
                    yield f"{ATB_LISTS[listed]}.{ast.literal_eval(element)}"


if __name__ == "__main__":
    main()
