"""The HTTP API, from the application's routes and their OpenAPI schema.

The routes that answer questions are bare ASGI routes, which are not in the schema. Their classes
have attributes with what FastAPI's decorators declare for other routes.
"""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from tools.reference import markdown
from tools.reference.markdown import code

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant
    from starlette.routing import BaseRoute

HEAD = ("Field", "Value", "Default", "Description")
SECTIONS = (  # the tags of the routes, in the order of the page
    "Answers",
    "Embeddings",
    "Feedback",
    "Models",
    "A person's own data",
    "Pairs",
    "Unanswered questions",
    "Tuning runs",
    "Triggers",
    "Adapters",
    "Comparisons",
    "Policies",
    "Raters",
    "Operation",
)
UNGUARDED = {  # routes without a role dependency, and who may call them
    "/v1/chat/completions": "member",
    "/v1/chat/answers": "member",
    "/v1/responses": "member",
    "/v1/completions": "member",
    "/health": "everyone",
    "/metrics": "admin, or the same machine",
}


@dataclass(frozen=True)
class Operation:
    """A path and method, with the contents of its section."""

    method: str
    path: str
    role: str  # the lowest role that may call it
    tag: str
    description: str
    parameters: list[dict[str, Any]]  # query parameters, in OpenAPI's form
    body: dict[str, Any] | None  # the JSON schema of the request body
    schemas: dict[str, Any]  # the schemas that `$ref` refers to
    responses: dict[str, str]  # status -> meaning

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}"


def reference() -> str:
    """A table of all routes, then a section for each group of routes."""
    found = sorted(operations(), key=lambda o: SECTIONS.index(o.tag))
    listed = [
        (f"[`{o.title}`](#{markdown.anchor(o.title)})", o.role, markdown.summary(o.description))
        for o in found
    ]
    first: dict[str, str] = {}  # the body's model -> the first route with that body

    def like(operation: Operation) -> str:
        title = resolved(operation.body or {}, operation.schemas).get("title", operation.title)
        earlier = first.setdefault(title, operation.title)
        return earlier if earlier != operation.title else ""

    parts = [f"## All routes\n\n{markdown.table(('Route', 'Role', 'Purpose'), listed)}"]
    for tag in SECTIONS:
        parts.append(f"## {tag}\n")
        parts += [section(o, like(o)) for o in found if o.tag == tag]
    parts.append("## Objects\n\nTimes are microseconds since 1970, in UTC.\n")
    parts += objects()
    return "\n".join(parts)


def operations() -> list[Operation]:
    """Every route for API clients."""
    from bot.app import create_app
    from data.config.settings import Settings
    from data.store.db import Store

    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "understudy.db") as store:
        app = create_app(Settings(home=Path(folder)), store)
    return list(described([r for r in app.routes if is_public(getattr(r, "path", ""))]))


def is_public(path: str) -> bool:
    """Whether a path belongs to the API, and not to the web pages and their scripts."""
    return path.startswith("/v1/") or path in ("/health", "/metrics")


def described(routes: "list[BaseRoute]") -> Iterator[Operation]:
    from fastapi.openapi.utils import get_openapi
    from fastapi.routing import APIRoute
    from starlette.routing import Route

    with warnings.catch_warnings():  # one function answers GET and HEAD
        warnings.filterwarnings("ignore", "Duplicate Operation ID")
        schema = get_openapi(title="Understudy", version="1", routes=routes)
    schemas = schema.get("components", {}).get("schemas", {})
    for route in routes:
        if isinstance(route, APIRoute):
            role = role_of(route.dependant) or UNGUARDED[route.path]
            for method in sorted(route.methods - {"HEAD"}):
                known = schema["paths"][route.path][method.lower()]
                yield Operation(
                    method,
                    route.path,
                    role,
                    known["tags"][0],
                    known.get("description", ""),
                    [p for p in known.get("parameters", ()) if p["in"] == "query"],
                    _body(known),
                    schemas,
                    {s: r["description"] for s, r in known["responses"].items() if s != "422"},
                )
        elif isinstance(route, Route):
            yield _bare(route.endpoint, sorted(route.methods or ())[-1], route.path)


def _bare(endpoint: Any, method: str, path: str) -> Operation:
    """The operation of a bare ASGI route."""
    body = endpoint.request_model.model_json_schema()
    responses = {str(s): r["description"] for s, r in endpoint.responses.items()}
    return Operation(
        method,
        path,
        UNGUARDED[path],
        endpoint.tags[0],
        endpoint.__doc__ or "",
        [],
        body,
        body.get("$defs", {}),
        {"200": endpoint.response_description} | responses,
    )


def _body(known: dict[str, Any]) -> dict[str, Any] | None:
    body: dict[str, Any] | None = known.get("requestBody")
    return next(iter(body["content"].values()))["schema"] if body else None


def role_of(dependant: "Dependant") -> str:
    """The role that a route's dependencies require; '' if none."""
    from bot.api import auth

    roles = {auth.member: "member", auth.reviewer: "reviewer", auth.admin: "admin"}
    order = list(roles.values())
    asked = [roles[d.call] for d in _all(dependant) if d.call in roles]
    return max(asked, key=order.index, default="")


def _all(dependant: "Dependant") -> "Iterator[Dependant]":
    for inner in dependant.dependencies:
        yield inner
        yield from _all(inner)


def section(operation: Operation, like: str = "") -> str:
    """The section of a route. `like` names an earlier route with the same body, if there is one."""
    pieces = [
        f"### {operation.title}\n",
        f"{markdown.paragraphs(operation.description)}\n",
        f"Role: {operation.role}.\n",
    ]
    if operation.parameters:
        rows = [_field(p["name"], p["schema"], p, operation.schemas) for p in operation.parameters]
        pieces.append(markdown.table(("Query parameter", *HEAD[1:]), rows))
    if operation.body is not None and like:
        pieces.append(f"The body is that of [`{like}`](#{markdown.anchor(like)}).\n")
    elif operation.body is not None:
        pieces.append(markdown.table(HEAD, list(_fields(operation.body, operation.schemas))))
    said = [(code(s), markdown.sentence(text)) for s, text in operation.responses.items()]
    pieces.append(markdown.table(("Status", "Response"), said))
    return "\n".join(pieces)


def _fields(
    model: dict[str, Any], schemas: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    """The fields of a body, those that are required first, with those of the objects in its lists
    as `sides[].adapter`."""
    model = resolved(model, schemas)
    required = model.get("required", [])
    for name in sorted(model["properties"], key=lambda name: name not in required):
        schema = model["properties"][name]
        given = {"required": name in required, "description": schema.get("description", "")}
        yield _field(f"{prefix}{name}", schema, given, schemas)
        inner = resolved(schema, schemas)
        if "$ref" in inner.get("items", {}):
            yield from _fields(inner["items"], schemas, f"{prefix}{name}[].")
        elif "properties" in inner:
            yield from _fields(inner, schemas, f"{prefix}{name}.")


def _field(
    name: str, schema: dict[str, Any], given: dict[str, Any], schemas: dict[str, Any]
) -> tuple[str, str, str, str]:
    text = given.get("description") or resolved(schema, schemas).get("description", "")
    if given.get("required"):
        text = f"{text} Required.".strip()
    return code(name), allowed(schema, schemas), default(schema), text


def resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """A schema without `null`, with its reference resolved."""
    options = [s for s in schema.get("anyOf", ()) if s.get("type") != "null"]
    if len(options) == 1:
        return resolved(options[0], schemas)
    if "$ref" in schema:
        found: dict[str, Any] = schemas[schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def default(schema: dict[str, Any]) -> str:
    given = schema.get("default")
    if given is None or given in ({}, ""):
        return ""
    return code(str(given).lower() if isinstance(given, bool) else str(given))


def allowed(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The values that a field accepts, as text."""
    schema = resolved(schema, schemas)
    if "enum" in schema:
        return ", ".join(code(str(choice)) for choice in schema["enum"])
    if "const" in schema:
        return code(str(schema["const"]))
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(allowed(option, schemas) for option in options)
    kinds = {
        "string": "text",
        "boolean": "`true` or `false`",
        "integer": "whole number",
        "object": "object",
        "array": "list",
        "number": "number",
    }
    kind = kinds[schema["type"]] if "type" in schema else "any value"
    return f"{kind}{_limits(schema)}"


def _limits(schema: dict[str, Any]) -> str:
    """The range of a number, or the length limits of a text or list, as text."""
    if "maxLength" in schema:
        most = schema["maxLength"]
        return f", at most {most:,} characters" if most > 1 else ", one character"
    if "maxItems" in schema or "minItems" in schema:
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        if high is None:
            return f" of at least {low}"
        return f" of {low} to {high}" if low else f" of at most {high}"
    bounds = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
    )
    small = {name: schema[name] for name, _ in bounds if abs(schema.get(name, 2**62)) < 2**53}
    if set(small) == {"minimum", "maximum"}:
        return f" from {small['minimum']:g} to {small['maximum']:g}"
    found = [f"{words} {small[name]:g}" for name, words in bounds if name in small]
    return f", {' and '.join(found)}" if found else ""


def objects() -> Iterator[str]:
    """The fields of the objects that several routes return."""
    from data.adapters.registry import Adapter
    from data.experiments.experiments import Experiment, Variant
    from data.pairs.pairs import Pair
    from data.privacy.personal_data import PersonalDataSummary
    from data.runs.runs import Run

    known = {
        "Pair": Pair,
        "Run": Run,
        "Adapter": Adapter,
        "Experiment": Experiment,
        "Variant": Variant,
        "Person": PersonalDataSummary,
    }
    for name, cls in known.items():
        hints = get_type_hints(cls)
        # The salt of an experiment is secret.
        kept = [f.name for f in fields(cls) if f.name != "salt"]
        rows = [(code(field), shown(hints[field])) for field in kept]
        yield f"### {name}\n\n{markdown.table(('Field', 'Value'), rows)}"


def shown(hint: Any) -> str:
    """A Python type as the name of its JSON type."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join("`null`" if h is NoneType else shown(h) for h in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(code(str(choice)) for choice in get_args(hint))
    if get_origin(hint) in (tuple, list, set, frozenset):
        return "list"
    kinds = {str: "text", bool: "`true` or `false`", int: "whole number", float: "number"}
    return kinds.get(hint, "object")
