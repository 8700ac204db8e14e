"""Who may ask, and how much: API keys with limits."""

import hashlib
import hmac
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.serve.api.errors import ApiError
from cordee.serve.policy.admission import Bucket

FIELDS = {"name", "key", "sha256", "requests_per_minute", "tokens_per_minute", "priority", "admin"}


@dataclass(slots=True)
class Key:
    """One client."""

    name: str
    sha256: str
    priority: int = 0
    admin: bool = False
    requests: Bucket | None = None
    tokens: Bucket | None = None


class Keys:
    """All clients; with none, everybody may ask."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = dict(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def who(self, authorization: str | None) -> Key | None:
        """The client of a request. Raises `ApiError` 401 where there is none."""
        if not self._keys:
            return None
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise ApiError(
                401,
                "an API key is needed: Authorization: Bearer KEY",
                code="invalid_api_key",
            )
        digest = hashlib.sha256(secret.strip().encode()).hexdigest()
        for known, key in self._keys.items():
            if hmac.compare_digest(known, digest):
                return key
        raise ApiError(401, "the API key is not one of this service", code="invalid_api_key")

    def named(self, name: str) -> Key | None:
        """The client of that name."""
        return next((key for key in self._keys.values() if key.name == name), None)

    def admit(self, key: Key | None) -> None:
        """Count a request. Raises `ApiError` 429 where the key has asked too much."""
        if key is None:
            return
        now = time.monotonic()
        wait_s = key.tokens.take(1, now) if key.tokens is not None else 0.0
        what = "tokens"
        if not wait_s and key.requests is not None:
            wait_s, what = key.requests.take(1, now), "requests"
        if wait_s:
            raise ApiError(
                429,
                f"the key {key.name} has used its {what} for this minute",
                code="rate_limit_exceeded",
                retry_after_s=wait_s,
            )

    def spent(self, key: Key | None, tokens: int) -> None:
        """Count the tokens of an answer."""
        if key is not None and key.tokens is not None:
            key.tokens.spend(tokens, time.monotonic())


def read_keys(file: Path | None) -> Keys:
    """The keys in a TOML file, tables [[key]]. Raises `UsageError` where one is broken."""
    if file is None:
        return Keys({})
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    made: dict[str, Key] = {}
    for number, entry in enumerate(given.get("key", []), 1):
        key = _key(file, number, entry)
        made[key.sha256] = key
    if not made:
        raise UsageError(f"{file}: has no [[key]], so that nobody could ask")
    return Keys(made)


def _key(file: Path, number: int, entry: Mapping[str, object]) -> Key:
    where = f"{file}: key {number}"
    unknown = entry.keys() - FIELDS
    if unknown:
        raise UsageError(f"{where}: {sorted(unknown)[0]} is no field; known: {sorted(FIELDS)}")
    secret, digest = entry.get("key"), entry.get("sha256")
    if isinstance(secret, str) and secret:
        digest = hashlib.sha256(secret.encode()).hexdigest()
    if not isinstance(digest, str) or len(digest) != 64:
        raise UsageError(f"{where}: needs key, or sha256 with 64 hexadecimal digits")
    return Key(
        name=str(entry.get("name", f"key {number}")),
        sha256=digest.lower(),
        priority=_whole(where, entry, "priority") or 0,
        admin=entry.get("admin") is True,
        requests=_bucket(where, entry, "requests_per_minute"),
        tokens=_bucket(where, entry, "tokens_per_minute"),
    )


def _bucket(where: str, entry: Mapping[str, object], name: str) -> Bucket | None:
    value = _whole(where, entry, name)
    return None if value is None else Bucket(max(1, value))


def _whole(where: str, entry: Mapping[str, object], name: str) -> int | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise UsageError(f"{where}: {name} is {value!r}, not a whole number")
    return value
