"""The least answer that fits a schema, the same for the same text."""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

#: Where prompts put the customer's words; the last one counts, examples come before it.
_TAGGED = re.compile(r"<(query|ticket)>(.*?)</\1>", re.DOTALL)
_FIRST_WORDS = re.compile(r"\S+(?:[ \t]+\S+){0,4}")


def make_instance(schema: Any, text: str, root: Any = None) -> Any:
    """A value that fits the schema: texts are the first words of the message, enums follow its hash."""
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        return make_instance(_resolve(root, schema["$ref"]), text, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][_hash(text) % len(schema["enum"])]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return make_instance(schema[keyword][0], text, root)
    return _make_typed(schema, text, root)


def _make_typed(schema: dict[str, Any], text: str, root: Any) -> Any:
    kind = schema.get("type", "object")
    kind = next(k for k in kind if k != "null") if isinstance(kind, list) else kind
    if kind == "object":
        return {name: make_instance(s, text, root) for name, s in schema.get("properties", {}).items()}
    if kind == "array":
        return [make_instance(schema.get("items", {}), text, root)] * schema.get("minItems", 0)
    if kind == "string":
        return _first_words(text).ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
    if kind in {"integer", "number"}:
        return _least_number(schema, whole=kind == "integer")
    return _hash(text) % 2 == 0 if kind == "boolean" else None


def _first_words(text: str) -> str:
    tagged = [words for _, words in _TAGGED.findall(text)]
    found = _FIRST_WORDS.search(tagged[-1]) if tagged else None
    found = found or _FIRST_WORDS.search(text)
    return found.group() if found else "none"


def _least_number(schema: dict[str, Any], *, whole: bool) -> float:
    step: float = schema.get("multipleOf", 1 if whole else 0.5)
    low = schema.get("minimum", -math.inf)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + step)
    high = schema.get("maximum", math.inf)
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - step)
    number: float = min(max(0, low), high)
    return math.ceil(number / step) * step if whole else number


def _resolve(root: Any, ref: str) -> Any:
    for step in ref.removeprefix("#").strip("/").split("/"):
        root = root[step] if step else root
    return root


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")
