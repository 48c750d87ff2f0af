"""The output schema of a prompt: closed and whole, as strict structured output demands it."""

from __future__ import annotations

from typing import Any, NoReturn

import jsonschema_rs
import orjson

from overnight.prompts.refusals import refuse

#: Names that a delivered row has already.
_RESERVED = {"row_id", "row_number", "request_key", "prompt_hash", "model"}


def check_schema(name: str, text: str) -> None:
    schema = parse_object(name, "output.schema.json", text)
    try:
        jsonschema_rs.meta.validate(schema)
        jsonschema_rs.validator_for(schema, retriever=_refuse_reference)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        why = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
        refuse(name, "output.schema.json", f"is not a JSON schema ({why})", "Mend it; references stay in the file.")
    properties = schema.get("properties")
    if schema.get("type") != "object" or not properties:
        refuse(name, "output.schema.json", "describes no object", 'Set "type": "object" and name its properties.')
    taken = sorted(_RESERVED & set(properties))
    if taken:
        refuse(name, "output.schema.json", f"names {', '.join(taken)}, which each row has already", "Rename them.")
    _check_strict(name, schema, "the schema")


def _check_strict(name: str, schema: Any, where: str) -> None:
    """Strict structured output demands closed objects with every property required, at every depth."""
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties", {})
    kinds = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")]
    is_closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
    if (properties or "object" in kinds) and not is_closed:
        remedy = 'Set "additionalProperties": false and list every property in "required"; allow null where need be.'
        refuse(name, "output.schema.json", f"{where} is open or has optional properties", remedy)
    for key, inner in [*properties.items(), *schema.get("$defs", {}).items(), ("items", schema.get("items"))]:
        _check_strict(name, inner, f"property {key!r}")
    for inner in schema.get("anyOf", ()):
        _check_strict(name, inner, where)


def _refuse_reference(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is outside the file")


def parse_object(name: str, file: str, text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        refuse(name, file, f"is not JSON ({error})", "Mend it there.")
    if not isinstance(value, dict):
        refuse(name, file, f"holds a {type(value).__name__}", "Give a JSON object.")
    return value
