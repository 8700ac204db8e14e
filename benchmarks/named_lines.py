"""Lines of a repository that name NVIDIA, found without anything that cordee knows.

A line counts where cuda, nccl, nvidia or cudnn stands in it, outside of comments and docstrings.
Prose, data, values that tests compare with, and lock files do not count. A file of CUDA C++ counts
as one line, its first.
"""

import io
import json
import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

NAMES = re.compile(r"cuda|nccl|nvidia|cudnn", re.IGNORECASE)
WORD = re.compile(r"[\w.$-]*(?:cuda|nccl|nvidia|cudnn)[\w.-]*", re.IGNORECASE)

PYTHON = frozenset({".py", ".pyi", ".pyw"})
CUDA = frozenset({".cu", ".cuh"})
CPP = frozenset({".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".hxx", ".inc", ".js", ".ts"})
PROSE = frozenset({".md", ".mdx", ".rst", ".txt", ".html", ".tex", ".bib", ".ipynb_checkpoints"})
DATA = frozenset({".csv", ".tsv", ".jsonl", ".svg", ".log", ".lock", ".ndjson", ".parquet", ".css", ".vocab"})  # fmt: skip
TEXTS = re.compile(r"(?i)requirements.*\.txt|.*requirements\.txt|CMakeLists\.txt")
PROSE_NAMES = re.compile(r"(?i)(license|notice|authors|codeowners|contributors|citation|changelog).*|\.git.*")  # fmt: skip
LOCKS = re.compile(r"(?i).*[-.]lock(\.\w+)?|.*lock\.json|lock\.ya?ml")
EXPECTED = re.compile(r"(?i)golden|expected_?(values|results|output)|snapshots?/|(^|/)results/")
DATA_BYTES = 200_000  # JSON larger than this is no configuration

# A directive for a scheduler reads like a comment.
SHELL_COMMENT = re.compile(r"(?:^|(?<=\s))#(?!SBATCH|PBS|BSUB|\$)(?![!]).*")
BLOCK_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
BEGINNINGS = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
SILENT = {tokenize.COMMENT, tokenize.NL}


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """One line, and the words of it that name NVIDIA."""

    path: str
    line: int
    words: tuple[str, ...]
    kind: str


def named_lines(root: Path) -> Iterator[Named]:
    """Those of all files that git keeps in `root`."""
    for path in tracked(root):
        file = root / path
        if file.is_symlink() or not file.is_file():
            continue
        data = file.read_bytes()
        kind = kind_of(path, data) or ""
        yield from sorted(
            Named(path, line, tuple(sorted(set(words))), kind)
            for line, words in named_in(path, data).items()
            if words
        )


def named_in(path: str, data: bytes) -> dict[int, list[str]]:
    """The words that name NVIDIA in one file, by line."""
    kind = kind_of(path, data)
    if kind is None or b"\0" in data[:8000] or NAMES.search(data.decode("latin-1")) is None:
        return {}
    return _lines(kind, data.decode("utf-8", errors="replace"))


def tracked(root: Path) -> list[str]:
    """The paths of the files that git keeps."""
    command = ["git", "-C", str(root), "ls-files", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout
    return [path.decode() for path in listed.split(b"\0") if path]


def kind_of(path: str, data: bytes) -> str | None:
    """What a file is read as; None where nothing in it counts."""
    name = PurePosixPath(path)
    suffix = name.suffix.lower()
    first = data[:100].split(b"\n", 1)[0]
    if TEXTS.fullmatch(name.name):
        return "settings"
    if suffix in PROSE | DATA or PROSE_NAMES.fullmatch(name.name) or LOCKS.fullmatch(name.name):
        return None
    if EXPECTED.search(path) and suffix not in PYTHON | {".sh"}:
        return None
    if suffix in PYTHON or (first.startswith(b"#!") and b"python" in first):
        return "python"
    if suffix == ".ipynb":
        return "notebook"
    if suffix in CUDA:
        return "cuda"
    if suffix in CPP:
        return "cpp"
    if suffix == ".json":
        return "json" if len(data) <= DATA_BYTES else None
    if suffix in (".sh", ".bash", ".slurm", ".sbatch") or first.startswith(b"#!"):
        return "shell"
    return "settings"


def _lines(kind: str, text: str) -> dict[int, list[str]]:
    if kind == "cuda":
        return {1: ["CUDA C++"]}
    if kind == "python":
        return _python(text)
    if kind == "notebook":
        return _notebook(text)
    if kind == "cpp":
        text = BLOCK_COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)
    elif kind != "json":
        text = "\n".join(SHELL_COMMENT.sub("", line) for line in text.split("\n"))
    return {number: WORD.findall(line) for number, line in enumerate(text.split("\n"), 1)}


def _python(text: str) -> dict[int, list[str]]:
    """Words by line; of a text that is no Python, what is not behind a number sign."""
    try:
        code = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        lines = enumerate(text.split("\n"), 1)
        return {number: WORD.findall(line.partition("#")[0]) for number, line in lines}
    found: dict[int, list[str]] = {}
    for number, piece in _pieces(code):
        found.setdefault(number, []).extend(WORD.findall(piece))
    return {number: _joined(text, number, words) for number, words in found.items() if words}


def _joined(text: str, number: int, words: Iterable[str]) -> list[str]:
    """The words as they stand in their line: torch.cuda.Event, not cuda."""
    whole = WORD.findall(text.split("\n")[number - 1])
    return [each for each in whole if any(word in each for word in words)] or list(words)


def _pieces(code: list[tokenize.TokenInfo]) -> Iterator[tuple[int, str]]:
    """The lines of every token that is neither a comment nor a docstring."""
    seen = [token for token in code if token.type not in SILENT]
    before = [tokenize.ENCODING, *(token.type for token in seen)]
    after = [*(token.type for token in seen[1:]), tokenize.NEWLINE]
    for token, last, following in zip(seen, before, after, strict=False):
        alone = last in BEGINNINGS and following in (tokenize.NEWLINE, tokenize.ENDMARKER)
        if token.type == tokenize.STRING and alone:
            continue
        for shift, line in enumerate(token.string.split("\n")):
            yield token.start[0] + shift, line


def _notebook(text: str) -> dict[int, list[str]]:
    try:
        cells = json.loads(text).get("cells", [])
    except (ValueError, AttributeError):
        return {}
    raw = text.split("\n")
    places: dict[str, list[int]] = {}
    for number, line in enumerate(raw, 1):
        places.setdefault(line.strip().removesuffix(","), []).append(number)
    found: dict[int, list[str]] = {}
    for cell in cells:
        lines = cell.get("source", [])
        if cell.get("cell_type") != "code" or isinstance(lines, str):
            continue
        code = "".join("#" + line if line.lstrip()[:1] == "%" else line for line in lines)
        code = re.sub(r"(?m)^(\s*)!", r"\1", code)
        for number, words in _python(code).items():
            written = json.dumps(lines[number - 1], ensure_ascii=False)
            for place in places.get(written, [])[:1]:
                places[written].remove(place)
                found.setdefault(place, []).extend(words)
    return found
