"""The files of the page by the paths at which the gateway serves them."""

from collections.abc import Mapping

from cordee.core.pages.files import served


def pages() -> Mapping[str, tuple[str, bytes]]:
    """Path to kind and content; all that the page needs, so that it works without a network."""
    return served("cordee.serve.page", ("page.css", "page.js", "chat.js", "view.js"))
