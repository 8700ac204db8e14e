"""How a page is made from a template and comes to its file."""

import os
from functools import cache
from pathlib import Path

import jinja2

from cordee.core.errors import UsageError
from cordee.core.pages.numbers import count_text, plural, share_text


@cache  # with the templates, which are compiled once
def environment(package: str) -> jinja2.Environment:
    """Templates of `package`, which may include `look.css`, the style that all pages share."""
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, "."), jinja2.PackageLoader(__package__, ".")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"count": count_text, "share": share_text}
    found.globals |= {"plural": plural}
    return found


def save(page: str, target: Path) -> None:
    """Write a page whole or not at all. Raises `UsageError` where `target` cannot be written."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        # A file's name may hold bytes that are no text; they are shown as question marks.
        beside.write_bytes(page.encode("utf-8", "replace"))
        beside.replace(target)
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}") from error
