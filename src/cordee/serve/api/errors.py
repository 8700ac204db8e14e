"""Errors in OpenAI's shape."""

import re
from collections.abc import Mapping

import msgspec

from cordee.core.errors import CordeeError

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    501: "invalid_request_error",
    504: "timeout_error",
}


class ApiError(CordeeError):
    """What a client is told instead of an answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """The error as JSON."""
        kind = TYPES.get(self.status, "server_error")
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": told})

    def event(self) -> bytes:
        """The error as the last event of a stream that has begun."""
        return b"data: " + self.body() + b"\n\n"

    @property
    def headers(self) -> Mapping[str, str]:
        if self.retry_after_s is None:
            return {}
        return {"Retry-After": str(max(1, round(self.retry_after_s)))}


_PLACE = re.compile(r"^(.*?)(?: - at `(.*)`)?$", re.DOTALL)


def refused(error: msgspec.DecodeError) -> ApiError:
    """The error for a body that is no JSON, or has a field of another kind or range."""
    if not isinstance(error, msgspec.ValidationError):
        return ApiError(400, f"the body is no JSON: {error}", code="invalid_json")
    found = _PLACE.match(str(error))
    message, place = found.groups() if found else (str(error), None)
    param = place.removeprefix("$").lstrip(".") if place else None
    return ApiError(400, f"{param or 'the body'}: {message}", param=param or None)
