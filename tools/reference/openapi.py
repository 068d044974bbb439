"""The OpenAPI document of the HTTP API, `docs/openapi.json`.

The service serves no such document, because it would tell everybody what there is; client
generators and fuzzers read the file.
"""

import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import orjson

from tools.reference import http

ERROR = {
    "type": "object",
    "description": "What every error is.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "code": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        }
    },
}
ERROR_RESPONSE = {
    "description": "An error, with a sentence that says what is wrong.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
DROPPED = ("HTTPValidationError", "ValidationError")  # answered as any other error, with status 400


def reference() -> str:
    """The document as indented JSON."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2).decode() + "\n"


def document() -> dict[str, Any]:
    from fastapi.openapi.utils import get_openapi

    from bot.app import create_app
    from data.config.settings import Settings
    from data.store.db import Store

    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "understudy.db") as store:
        app = create_app(Settings(home=Path(folder)), store)
    routes = [r for r in app.routes if http.is_public(getattr(r, "path", ""))]
    with warnings.catch_warnings():  # one function answers GET and HEAD
        warnings.filterwarnings("ignore", "Duplicate Operation ID")
        schema = get_openapi(title="Understudy", version="1", routes=routes)
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in DROPPED:
        schemas.pop(name, None)
    schemas["Error"] = ERROR
    schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for operation in http.described(routes):
        known = schema["paths"].setdefault(operation.path, {})
        known.pop("head", None)
        method = operation.method.lower()
        if method not in known:  # a bare route
            known[method] = _bare(operation, schemas)
        said = known[method]
        said["x-role"] = operation.role
        said["operationId"] = "_".join(re.findall(r"\w+", f"{method} {operation.path}"))
        said["responses"].pop("422", None)
        for status, response in said["responses"].items():
            if not status.startswith("2") and operation.path not in ("/health", "/metrics"):
                response["content"] = ERROR_RESPONSE["content"]
        said["responses"]["default"] = ERROR_RESPONSE
        if operation.role != "everyone":
            said["security"] = [{"key": []}]
    return schema


def _bare(operation: http.Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    """An operation that FastAPI does not know."""
    body = dict(operation.body or {})
    for name, each in body.pop("$defs", {}).items():
        schemas[name] = each
    text = orjson.dumps(body).replace(b"#/$defs/", b"#/components/schemas/")
    for name, each in list(schemas.items()):
        raw = orjson.dumps(each)
        if b"#/$defs/" in raw:
            schemas[name] = orjson.loads(raw.replace(b"#/$defs/", b"#/components/schemas/"))
    return {
        "tags": [operation.tag],
        "summary": operation.title,
        "description": operation.description,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": orjson.loads(text)}},
        },
        "responses": {s: {"description": meaning} for s, meaning in operation.responses.items()},
    }
