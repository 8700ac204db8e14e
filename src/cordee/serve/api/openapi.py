"""The description of the API in OpenAPI 3.1, made from the very types that read requests."""

from functools import cache
from typing import Any

import msgspec

from cordee import __version__
from cordee.serve.api.requests import Chat, Completion, Detokenize, Embeddings, Tokenize

BODIES: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "/v1/chat/completions": ("An answer to a conversation.", Chat),
    "/v1/completions": ("What follows a text.", Completion),
    "/v1/embeddings": ("Vectors of texts.", Embeddings),
    "/tokenize": ("The ids of a text.", Tokenize),
    "/detokenize": ("The text of ids.", Detokenize),
}
READ = {
    "/v1/models": "The models that are served.",
    "/health": "Whether requests are taken.",
    "/metrics": "Figures in Prometheus' format.",
}
WRONG = ("400", "401", "404", "413", "429", "503", "504")
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


@cache
def document() -> bytes:
    """The whole description as JSON."""
    schemas, components = msgspec.json.schema_components(
        [body for _, body in BODIES.values()],
        ref_template="#/components/schemas/{name}",
        schema_hook=lambda _: {"description": "Any JSON value."},  # asked for object only
    )
    paths: dict[str, Any] = {}
    for (path, (text, _)), schema in zip(BODIES.items(), schemas, strict=True):
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {"post": {"summary": text, "requestBody": body, "responses": _responses()}}
    for path, text in READ.items():
        paths[path] = {"get": {"summary": text, "responses": _responses()}}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Cordée serve", "version": __version__},
            "paths": paths,
            "components": {"schemas": {**components, "Error": ERROR}},
        }
    )


def _responses() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    wrong = {"description": "An error.", "content": {"application/json": {"schema": schema}}}
    return {"200": {"description": "The answer."}, **dict.fromkeys(WRONG, wrong)}
