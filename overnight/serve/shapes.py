"""What goes in and out, as JSON Schema and as pydantic models: what the OpenAPI document shows."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from overnight.records import InboxState, Prompt

#: A key of a request.
KEY_PATTERN = "^[0-9a-f]{64}$"

# What the ledger's JSON keeps unchanged: 64 bits of a whole number, and no NUL.
_NUMBERS = {"minimum": -(2**63), "maximum": 2**64 - 1}
_TEXT = {"type": "string", "pattern": r"^[^\u0000]*$"}
_WORDS = {"type": "string", "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}
_NUMBER = {"type": "number", **_NUMBERS}


class Accepted(BaseModel):
    """A row is kept as a request."""

    key: str = Field(pattern=KEY_PATTERN)
    state: InboxState
    #: False where it had been handed in before.
    is_new: bool
    #: Where it is looked up.
    url: str


class Standing(BaseModel):
    """A request, and where it stands."""

    key: str = Field(pattern=KEY_PATTERN)
    prompt: str
    row_id: str
    state: InboxState
    received_at: str = Field(json_schema_extra={"format": "date-time"})
    settled_at: str | None = Field(json_schema_extra={"format": "date-time"})
    run_id: str | None
    answer: Any = Field(description="What was released; null until a person has let it out.")
    reason: str | None = Field(description="Why there will be no answer, where there will be none.")


class Health(BaseModel):
    """It answers."""

    status: str


def make_value_schema(reference: str) -> dict[str, Any]:
    """Any JSON value that the ledger keeps unchanged; `reference` is where this very schema will stand."""
    itself = {"$ref": reference}
    several = [{"type": "array", "items": itself}, _make_object(itself)]
    return {"anyOf": [_TEXT, _NUMBER, {"type": ["boolean", "null"]}, *several]}


def make_row_schema(prompt: Prompt, reference: str = "#/$defs/value") -> dict[str, Any]:
    """What a row of this prompt has; `reference` is where the schema of a value stands."""
    value = {"$ref": reference}
    several = [{"type": "array", "items": value}, _make_object(value)]
    given = {"anyOf": [_WORDS, _NUMBER, {"type": "boolean"}, *several]}
    fields = dict.fromkeys(prompt.optional_inputs, value) | dict.fromkeys(prompt.inputs, given)
    needed = list(prompt.inputs)
    if prompt.id_column:
        fields[prompt.id_column] = {"anyOf": [_WORDS, {"type": "integer", **_NUMBERS}]}
        needed = [prompt.id_column, *(name for name in needed if name != prompt.id_column)]
    schema = {"type": "object", "properties": fields, "required": needed, "additionalProperties": False}
    return (
        schema if not reference.startswith("#/$defs/") else {**schema, "$defs": {"value": make_value_schema(reference)}}
    )


def _make_object(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": _TEXT, "additionalProperties": value}
