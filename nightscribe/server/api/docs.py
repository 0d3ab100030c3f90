"""Describe the API on a page that needs no script and nothing from elsewhere, made from its OpenAPI description."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

router = APIRouter(prefix="/api", include_in_schema=False)

HERE = Path(__file__).parent
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """A parameter of a request, or a field of its body or of the response."""

    name: str
    kind: str
    is_required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """What a method does at an address."""

    method: str
    path: str
    description: str
    parameters: tuple[Value, ...]
    body: tuple[Value, ...]
    response: tuple[Value, ...]


@router.get("/docs", response_class=HTMLResponse)
def read_docs(request: Request) -> HTMLResponse:
    """Return the page."""
    openapi = cast("FastAPI", request.app).openapi()
    groups: dict[str, list[Operation]] = {}
    for tag, operation in operations(openapi):
        groups.setdefault(tag, []).append(operation)
    page = _template().render(info=openapi["info"], groups=groups, base=str(request.base_url).rstrip("/"))
    return HTMLResponse(page)


@router.get("/docs.css")
def read_style() -> Response:
    """Return the style of the page."""
    return Response((HERE / "docs.css").read_bytes(), media_type="text/css")


def operations(openapi: Schema) -> Iterator[tuple[str, Operation]]:
    """Yield every operation with the name of its group, as the description of an API lists them."""
    schemas: Schema = openapi.get("components", {}).get("schemas", {})
    for path, methods in openapi["paths"].items():
        for method, described in methods.items():
            yield (
                described.get("tags", ["other"])[0],
                Operation(
                    method=method.upper(),
                    path=path,
                    description=described.get("description") or described.get("summary", ""),
                    parameters=tuple(
                        Value(
                            each["name"],
                            _kind(each["schema"], schemas),
                            each.get("required", False),
                            _description(each) or _description(each["schema"]),
                        )
                        for each in described.get("parameters", ())
                    ),
                    body=_fields(described.get("requestBody", {}), schemas),
                    response=_fields(_success(described), schemas),
                ),
            )


def _success(described: Schema) -> Schema:
    return next((each for status, each in described.get("responses", {}).items() if status.startswith("2")), {})


def _fields(message: Schema, schemas: Schema) -> tuple[Value, ...]:
    schema: Schema = next((each.get("schema", {}) for each in message.get("content", {}).values()), {})
    if schema.get("type") == "array":
        schema = schema.get("items", {})
    schema = _resolved(schema, schemas)
    required = schema.get("required", ())
    return tuple(
        Value(name, _kind(each, schemas), name in required, _description(each))
        for name, each in schema.get("properties", {}).items()
    )


def _description(schema: Schema) -> str:
    return str(schema.get("description", ""))


def _kind(schema: Schema, schemas: Schema) -> str:
    """Return the type of a value in words, such as `integer`, `list of text` or `"done" or "failed"`."""
    if reference := schema.get("$ref"):
        resolved = _resolved(schema, schemas)
        return _kind(resolved, schemas) if "enum" in resolved else str(reference).rpartition("/")[2]
    if "enum" in schema:
        return " or ".join(f'"{each}"' for each in schema["enum"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(each, schemas) for each in choices))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}), schemas)}"
    if "contentMediaType" in schema:
        return "file"
    formats = {"date-time": "time", "binary": "file"}
    return formats.get(schema.get("format", ""), str(schema.get("type", "any value")).replace("string", "text"))


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return cast("Schema", schemas[name]) if name in schemas else schema


@cache
def _template() -> Template:
    loader = FileSystemLoader(HERE)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("docs.html")
