"""Asks a running service of cordee: for commands that look at one or steer it."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import click

from cordee.core.errors import UsageError

SERVICE = "http://127.0.0.1:8000"
URL = click.option("--url", default=SERVICE, show_default=True)
KEY = click.option("--key", default="", envvar="CORDEE_KEY", help="An API key; or $CORDEE_KEY.")
ADMINS_KEY = click.option(
    "--key", default="", envvar="CORDEE_KEY", help="An admin's API key; or $CORDEE_KEY."
)


@contextmanager
def asked(
    url: str, path: str, key: str, *, body: bytes | None = None, within_s: float = 60.0
) -> "Iterator[IO[bytes]]":
    """What the service answers; with a `body`, to a request that changes something. Raises `UsageError`."""
    request = urllib.request.Request(url.rstrip("/") + path, data=body)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=within_s) as reply:
            yield reply
    except urllib.error.HTTPError as error:
        raise UsageError(f"{url} answered {error.code}: {message(error.read())}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UsageError(f"{url}: no service of cordee answers there: {error}") from error


def message(body: bytes) -> str:
    """What an error says, in OpenAI's shape or otherwise."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode("utf-8", "replace")
