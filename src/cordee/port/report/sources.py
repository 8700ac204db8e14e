"""Where a fact comes from, as a link where its words name a page."""

import re
from dataclasses import dataclass

HOST = r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}"
PAGE = re.compile(rf"(?:https?://)?(?P<page>{HOST}/[^\s,;)]*)")
IN_REPOSITORY = re.compile(
    r"(?:https?://)?github\.com/(?P<repository>[\w.-]+/[\w.-]+),? (?P<path>[\w.-]+(?:/[\w.-]+)+)"
)


@dataclass(frozen=True, slots=True)
class Link:
    """Words, and the address they lead to; empty where they name no page."""

    words: str
    address: str


def link(source: str) -> Link:
    """The first page that `source` names, of https only."""
    inside = IN_REPOSITORY.search(source)
    if inside:
        address = f"https://github.com/{inside['repository']}/blob/HEAD/{inside['path']}"
        return Link(source, address)
    page = PAGE.search(source)
    return Link(source, f"https://{page['page']}" if page else "")
