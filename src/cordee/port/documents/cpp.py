"""C++ and CUDA sources: their words, without comments and the insides of texts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import NoReturn

from cordee.port.documents.kind import Kind
from cordee.port.python.file import Span
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

CUDA = (".cu", ".cuh")
CPP = (".cpp", ".cc", ".cxx", ".c", ".h", ".hpp", ".hh", ".hxx", ".inl", ".ipp", ".tpp")
TOKEN = re.compile(
    r"""(?P<comment>//(?:[^\n\\]|\\.|\\\r?\n)*|/\*.*?(?:\*/|\Z))
    |\#[ \t]*include[ \t]*[<"](?P<include>[^>"\n]+)[>"]
    |(?P<raw>R"(?P<mark>[^()\\\s]{0,16})\(.*?(?:\)(?P=mark)"|\Z))
    |(?P<text>"(?:[^"\\\n]|\\.)*(?:"|$))
    |(?P<launch><<<)
    |(?P<number>\d[\w']*)
    |(?P<character>'(?:[^'\\\n]|\\.)+')
    |(?P<word>[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_~]\w*)*)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
ASSEMBLY = frozenset({"asm", "__asm__", "__asm"})


@dataclass(frozen=True, slots=True)
class Include:
    """One `#include`."""

    path: str
    span: Span


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function that runs on the chip and is called from the host."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Words:
    """Every name of a file, with the names around it (`at::cuda::x`), and where it stands."""

    places: dict[str, list[Span]]


@dataclass(frozen=True, slots=True)
class Launches:
    """Where kernels are launched."""

    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a file, by what they say."""

    places: dict[str, list[Span]]


class CppFile:
    """A source of C++ or CUDA, as words."""

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source = source
        self.setting = setting
        suffix = PurePosixPath(source.path).suffix
        self.kind = "cuda" if suffix in CUDA else "c++"

    def nodes(self) -> Iterator[object]:
        """Includes and kernels one by one; words, launches and texts as a whole."""
        words: dict[str, list[Span]] = {}
        texts: dict[str, list[Span]] = {}
        launches: list[Span] = []
        for token in self._tokens:
            kind, span = token.lastgroup, Span(*token.span())
            if token["include"]:
                yield Include(token["include"], span)
            elif kind == "launch":
                launches.append(span)
            elif kind == "text":
                texts.setdefault(token["text"].strip('"'), []).append(span)
            elif token["word"]:
                word = re.sub(r"\s+", "", token["word"])
                words.setdefault(word, []).append(span)
                if word == "__global__":
                    yield self._kernel(span)
        yield Words(words)
        yield Launches(tuple(launches))
        yield Texts(texts)

    def parts(self) -> Iterator[NoReturn]:
        """Nothing."""
        return iter(())

    @cached_property
    def _tokens(self) -> list[re.Match[str]]:
        found = TOKEN.finditer(self.source.text)
        return [m for m in found if m.lastgroup not in ("comment", "number", "character", "raw")]

    def _kernel(self, span: Span) -> Kernel:
        """The function that is declared behind `__global__`."""
        text = self.source.text
        bounds = re.compile(
            r"\s*(?:__launch_bounds__|__cluster_dims__)\s*\((?:[^()]|\([^()]*\))*\)"
        )
        at = span.end
        while True:
            head = re.compile(r"[^(;{]*").match(text, at)
            assert head is not None
            bound = bounds.search(text, at, head.end() + 400)
            if bound is None or bound.start() > head.end():
                break
            at = bound.end()
        names = re.findall(r"[A-Za-z_]\w*", re.sub(r"<[^<>]*>", "", head.group()))
        return Kernel(names[-1] if names else "?", Span(span.start, head.end()))


def _claims(path: str, data: bytes) -> bool:
    return PurePosixPath(path).suffix in (*CUDA, *CPP)


def _open(path: str, data: bytes, setting: Setting) -> CppFile:
    return CppFile(text_source(path, data), setting)


KIND = Kind("c++", _claims, _open)
