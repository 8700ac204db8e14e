"""The files of the page by the paths at which the gateway serves them."""

from collections.abc import Mapping
from importlib.resources import files

KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript"}


def pages() -> Mapping[str, tuple[str, bytes]]:
    """Path to kind and content; all that the page needs, so that it works without a network."""
    own = files("cordee.serve.page")
    found = {
        f"/page/{name}": (KINDS[name.rsplit(".", 1)[1]], (own / name).read_bytes())
        for name in ("page.css", "page.js", "chat.js", "view.js")
    }
    look = files("cordee.core.pages") / "look.css"
    found["/page/look.css"] = (KINDS["css"], look.read_bytes())
    found["/"] = (KINDS["html"], (own / "index.html").read_bytes())
    return found
