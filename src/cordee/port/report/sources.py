"""Where a fact comes from, as a link where its words name a page."""

import re
from dataclasses import dataclass

HOST = r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}"
PAGE = re.compile(rf"(?:https?://)?(?P<page>{HOST}/[^\s,;)]*)")
IN_REPOSITORY = re.compile(
    r"(?:https?://)?github\.com/(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<commit>\w+))?[,:]? ?"
    r"(?P<path>(?<=[ :])(?:[\w.-]+/)*[\w-]+\.[a-z]\w*|(?<=[ :])[\w.-]+(?:/[\w.-]+)+)"
)


@dataclass(frozen=True, slots=True)
class Link:
    """Words, and the address they lead to; empty where they name no page."""

    words: str
    address: str


def link(source: str) -> Link:
    """The first page that `source` names, of https only."""
    inside, page = IN_REPOSITORY.search(source), PAGE.search(source)
    if inside and page and inside.start() <= page.start():
        place = f"{inside['repository']}/blob/{inside['commit'] or 'HEAD'}/{inside['path']}"
        return Link(source, f"https://github.com/{place}")
    return Link(source, f"https://{page['page']}" if page else "")
