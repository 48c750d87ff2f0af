"""Editing an answer: an input for each field, by the prompt's schema, and what was changed in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson

from overnight.failures import ReviewRefused
from overnight.keys import canonical_json
from overnight.masking import NOTHING_HIDDEN, Veil
from overnight.records import ReviewItem

#: As deep as a reference may lead to another one.
_DEPTH = 10


@dataclass(frozen=True)
class EditField:
    """One field of an answer as something to fill in."""

    name: str
    #: The name of its input: a field's own name may be that of one of ours.
    key: str
    #: "text", "choice" or "json".
    kind: str
    #: What stands in it.
    text: str
    #: Of a choice: what is sent and what is shown, for each.
    options: tuple[tuple[str, str], ...] = ()

    @property
    def n_lines(self) -> int:
        """How high its input is at first."""
        return min(16, max(2 if self.kind == "text" else 1, self.text.count("\n") + len(self.text) // 60 + 1))


class EditRefused(ReviewRefused):
    """
    What was filled in is no correction.

    Args:
        message: Why.
        field: The name of the field that it is about.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def list_fields(
    output: Mapping[str, Any], schema: Mapping[str, Any], typed: Mapping[str, str] | None = None
) -> list[EditField]:
    """
    The inputs for an answer.

    Args:
        output: What stands in them.
        schema: The prompt's.
        typed: What was typed before, by the inputs' names, in place of the output.
    """
    made = [_make(n, name, value, schema) for n, (name, value) in enumerate(output.items())]
    return [EditField(f.name, f.key, f.kind, (typed or {}).get(f.key, f.text), f.options) for f in made]


def read_changes(
    item: ReviewItem, schema: Mapping[str, Any], typed: Mapping[str, str], veil: Veil = NOTHING_HIDDEN
) -> dict[str, Any]:
    """
    The fields of an answer that were changed.

    Args:
        item: What was shown.
        schema: The prompt's.
        typed: What was filled in, by the inputs' names.
        veil: What hides the item's private values: what was typed is held against the schema with them.

    Raises:
        EditRefused: Nothing was changed, or what was typed does not fit the schema.
    """
    changed = {}
    for n, (name, was) in enumerate(item.output.items()):
        field = _make(n, name, was, schema)
        text = typed.get(field.key)
        if text is None or _normal(text) == _normal(field.text):
            continue
        value = _normal(text) if field.kind == "text" else _read_json(name, text)
        if canonical_json(value) != canonical_json(was):
            changed[name] = value
    if {**item.output, **changed} == item.output:
        raise EditRefused(f"Nothing was changed in item {item.item}. Change a field, or go back and call it correct.")
    _refuse_misfit(item.output, changed, schema, veil)
    return changed


def _make(n: int, name: str, value: Any, schema: Mapping[str, Any]) -> EditField:
    key, options = f"field-{n}", _find_options(name, schema)
    if options:
        # What is there stands among them, whether it fits or not.
        known = dict.fromkeys(_dump(option) for option in [*options, value])
        shown = tuple((sent, _show(orjson.loads(sent))) for sent in known)
        return EditField(name, key, "choice", _dump(value), shown)
    if isinstance(value, str):
        return EditField(name, key, "text", value)
    return EditField(name, key, "json", orjson.dumps(value, default=str, option=_indent(value)).decode())


def _find_options(name: str, schema: Mapping[str, Any]) -> Sequence[Any]:
    found = schema.get("properties", {}).get(name)
    for _ in range(_DEPTH):
        if not isinstance(found, Mapping) or "$ref" not in found:
            break
        found = _follow(schema, str(found["$ref"]))
    if not isinstance(found, Mapping):
        return ()
    return found.get("enum") or ((True, False) if found.get("type") == "boolean" else ())


def _follow(schema: Any, reference: str) -> Any:
    """What a reference within the schema leads to; None: nothing."""
    for part in reference.removeprefix("#/").split("/"):
        schema = schema.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(schema, Mapping) else None
    return schema


def _read_json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise EditRefused(
            f"What stands in {name} is no JSON ({error.msg} in line {error.lineno}). Write a number, true, false, null,"
            ' a "text" in quotes, a [list] or an {"object": …}.',
            name,
        ) from error


def _refuse_misfit(
    output: Mapping[str, Any], changed: Mapping[str, Any], schema: Mapping[str, Any], veil: Veil
) -> None:
    """The decision would refuse it too, but an hour of reading later."""
    validator = jsonschema_rs.validator_for(dict(schema), validate_formats=True, offline=True)
    whole = orjson.loads(orjson.dumps(veil.put_back({**output, **changed})))
    error = next(iter(validator.iter_errors(whole)), None)
    if error is not None:
        at = "/".join(str(part) for part in error.instance_path) or "the answer"
        message = " ".join(veil.hide_text(str(error.message)).split())[:200]
        raise EditRefused(
            f"With this change the answer does not fit the prompt's schema at {at}: {message}. Change it, or go back"
            " and call the row wrong.",
            next((str(part) for part in error.instance_path), None),
        )


def _normal(text: str) -> str:
    """As a browser sends it back: one kind of line end, and no character that HTML has not."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _dump(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


def _show(value: Any) -> str:
    return value if isinstance(value, str) else _dump(value)


def _indent(value: Any) -> int:
    return orjson.OPT_INDENT_2 if isinstance(value, dict) else 0
