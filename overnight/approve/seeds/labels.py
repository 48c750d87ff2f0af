"""Which fields of an answer hold a label: one value of few."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: A field whose texts are this short, and of which so many rows share one, is taken for a label without an enum.
_MAX_CHARS = 40
_MIN_ROWS = 20
_ROWS_PER_LABEL = 3


def find_enum(schema: Mapping[str, Any], field: str) -> tuple[Any, ...] | None:
    """The values that the schema lists for a field of the answer, without null, in its order; None: it lists none."""
    values = [value for value in _list_enum(schema, get_facts(schema, field)) if value is not None]
    return tuple(values) or None


def get_facts(schema: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """What the schema says of a field of the answer; empty where it says nothing."""
    facts = schema.get("properties", {}).get(field)
    return facts if isinstance(facts, Mapping) else {}


def _list_enum(schema: Mapping[str, Any], part: Any, depth: int = 0) -> Iterable[Any]:
    if not isinstance(part, Mapping) or depth > 3:  # noqa: PLR2004 - deeper ones are no plain labels
        return
    yield from part.get("enum", ())
    reference = part.get("$ref", "")
    if reference.startswith("#/$defs/"):
        yield from _list_enum(schema, schema.get("$defs", {}).get(reference.removeprefix("#/$defs/")), depth + 1)
    for other in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        yield from _list_enum(schema, other, depth + 1)


def find_label_fields(schema: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The fields with labels: by the schema, or because their values are short and few."""
    fields = {field: None for output in outputs for field in output}
    return frozenset(f for f in fields if find_enum(schema, f) or _has_few_values([o.get(f) for o in outputs]))


def _has_few_values(values: Sequence[Any]) -> bool:
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, bool) for value in there):
        return True
    texts = {value for value in there if isinstance(value, str) and len(value) <= _MAX_CHARS}
    is_short = all(isinstance(value, str) and len(value) <= _MAX_CHARS for value in there)
    return is_short and len(there) >= max(_MIN_ROWS, _ROWS_PER_LABEL * len(texts))
