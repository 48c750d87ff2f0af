"""Correcting an answer in the terminal, field by field, held against the prompt's schema at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import orjson

from overnight.masking import NOTHING_HIDDEN, Veil
from overnight.page.edits import EditField, EditRefused, list_fields, read_changes
from overnight.records import ReviewItem
from overnight.report.text import show_value


def edit_in_terminal(item: ReviewItem, schema: Mapping[str, Any], veil: Veil = NOTHING_HIDDEN) -> dict[str, Any] | None:
    """The fields that change, an empty answer keeps one; None: back to the verdict."""
    fields = {field.name: field for field in list_fields(item.output, schema)}
    typed = {f.key: _write(f, text) for f in fields.values() if (text := _ask_field(f)).strip()}
    while True:
        try:
            return {"corrected": read_changes(item, schema, typed, veil)}
        except EditRefused as refusal:
            click.echo(f"  {show_value(str(refusal))}")
            field = fields.get(refusal.field or "")
        if field is None or not (text := _ask_field(field, " (empty: back to the verdict)")).strip():
            return None
        typed[field.key] = _write(field, text)


def _ask_field(field: EditField, hint: str = "") -> str:
    offered = f" ({', '.join(show_value(shown) for _, shown in field.options)})" if field.options else ""
    return str(click.prompt(f"    {show_value(field.name)}{offered}{hint}", default="", show_default=False))


def _write(field: EditField, text: str) -> str:
    """What was typed as a form would send it: what is no JSON, where that is due, is taken for a text."""
    if field.kind == "text":
        return text
    sent = {shown: sent for sent, shown in field.options}.get(text.strip())
    if sent is not None:
        return sent
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.dumps(text, default=str).decode()
    return text
