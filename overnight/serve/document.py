"""The OpenAPI document: a path for each prompt, with the fields of its rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from overnight.failures import PromptRefused
from overnight.records import Prompt
from overnight.serve.problems import PROBLEM_TYPE, Problem
from overnight.serve.shapes import KEY_PATTERN, make_row_schema, make_value_schema
from overnight.serve.shelf import Shelf

_VALUE = "#/components/schemas/Value"
_PATH = "/v1/requests/{prompt}"


def _describe_header(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {name: {"description": text, "schema": schema, "required": True}}


#: In the document alone: who asks is identified before any route is looked for.
BEARER: dict[str, Any] = {"security": [{"token": []}]}
_SECONDS = {"type": "integer", "minimum": 1}
HEADERS = {
    "Location": _describe_header("Location", {"type": "string"}, "Where it is looked up."),
    "Retry-After": _describe_header("Retry-After", _SECONDS, "Seconds after which to send it again."),
    "WWW-Authenticate": _describe_header("WWW-Authenticate", {"type": "string"}, "Bearer."),
}
_PROBLEMS: dict[int, tuple[str, dict[str, Any]]] = {
    401: ("There is no token, or it is not valid.", HEADERS["WWW-Authenticate"]),
    404: ("There is no such prompt, or no such request.", {}),
    408: ("The body was too slow.", {}),
    413: ("The body is too large.", {}),
    415: ("The body is not declared as JSON.", {}),
    422: ("The row does not fit the prompt.", {}),
    429: ("The client asks too often.", HEADERS["Retry-After"]),
    503: ("The ledger is away, the inbox full, or the prompt cannot be read.", HEADERS["Retry-After"]),
}


def list_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may be refused with, as FastAPI takes it."""
    return {status: _describe_problem(*_PROBLEMS[status]) for status in statuses}


def _describe_problem(text: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "content": content, **({"headers": headers} if headers else {})}


def describe(title: str, version: str, routes: Sequence[BaseRoute], shelf: Shelf) -> dict[str, Any]:
    """The document, as the prompts are now; one that cannot be read is not in it."""
    document = get_openapi(title=title, version=version, routes=routes)
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    schemas["Value"] = make_value_schema(_VALUE)
    paths = document["paths"]
    shown = paths[f"{_PATH}/{{key}}"]["get"]
    # FastAPI declares a refusal of its own for each path with parameters; none of these has a type to miss.
    shown["responses"].pop("422", None)
    next(p for p in shown["parameters"] if p["name"] == "key")["schema"]["pattern"] = KEY_PATTERN
    handing_in = paths.pop(_PATH)["post"]
    for prompt in _list_whole(shelf):
        paths[_PATH.replace("{prompt}", prompt.name)] = {"post": _make_operation(handing_in, prompt)}
    return document


def _list_whole(shelf: Shelf) -> list[Prompt]:
    whole = []
    for name in shelf.list_names():
        try:
            asked = shelf.find(name)
        except PromptRefused:
            continue
        if asked:
            whole.append(asked.prompt)
    return whole


def _make_operation(general: dict[str, Any], prompt: Prompt) -> dict[str, Any]:
    operation = copy.deepcopy(general)
    del operation["parameters"]
    row = make_row_schema(prompt, _VALUE)
    body = {"type": "object", "properties": {"row": row}, "required": ["row"], "additionalProperties": False}
    content = {"application/json": {"schema": body}}
    return {
        **operation,
        "operationId": f"submit_{prompt.name}",
        "requestBody": {"required": True, "content": content},
    }
