"""The files of a page: by the paths at which a program serves them, or all in one that opens without it."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript"}
SHARED = ("look.css", "live.css", "live.js")
Content = tuple[str, bytes]
"""Its kind, and what it is."""
Files = Mapping[str, Content]
"""By path."""


def served(package: str, names: Sequence[str]) -> Files:
    """`index.html` and all that it needs: no network is."""
    found = {
        f"/page/{name}": (KINDS[name.rsplit(".", 1)[1]], _read(package, name))
        for name in (*SHARED, *names)
    }
    found["/"] = (KINDS["html"], _page(package).encode())
    return found


def alone(package: str, scripts: Sequence[str], state: bytes) -> str:
    """One file that shows a state as JSON, with `scripts` in the order in which they need each other."""
    page = _page(package)

    def style(link: re.Match[str]) -> str:
        return f"<style>\n{_read(package, link[1]).decode()}</style>"

    page = re.sub(r'<link rel="stylesheet" href="/page/([\w.]+)">', style, page)
    joined = "\n".join(_without_modules(_read(package, name).decode()) for name in scripts)
    told = state.decode().replace("<", "\\u003c")  # inside of a string, which is all it can be in
    data = f'<script type="application/json" id="state">{told}</script>'
    script = f'{data}\n<script type="module">\n{joined}</script>'
    return re.sub(r'<script type="module" src="[^"]+"></script>', lambda _: script, page)


def _page(package: str) -> str:
    """`index.html` under the head that all have; its first line is a comment with the title."""
    first, _, body = _read(package, "index.html").decode().partition("\n")
    title = first.removeprefix("<!-- ").removesuffix(" -->")
    return _read("cordee.core.pages", "head.html").decode().replace("{title}", title) + body


def _without_modules(script: str) -> str:
    """What modules import of each other is there already: they are one."""
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", script, flags=re.M), flags=re.M)


def _read(package: str, name: str) -> bytes:
    return (files("cordee.core.pages" if name in SHARED else package) / name).read_bytes()
