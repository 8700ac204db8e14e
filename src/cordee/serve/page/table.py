"""The files of the page by the paths at which the gateway serves them."""

from cordee.core.pages.files import Files, served


def pages() -> Files:
    """Path to kind and content; all that the page needs, so that it works without a network."""
    return served("cordee.serve.page", ("page.css", "page.js", "chat.js", "view.js"))
