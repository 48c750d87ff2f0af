"""What prompts declare private, hidden wherever it stands in what is told of a row."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from overnight.failures import PromptRefused
from overnight.masking import Veil

#: How deep JSON stands in JSON: an answer is a text of the provider's response, which may quote another.
_DEPTH = 3
_CUT = "[private from here on: this is no whole JSON]"


#: Where fields stand under their names, as values or as the text of a JSON object.
_ROWS = {"input", "output", "offered", "corrected", "delivered", "verdict"}
#: Bodies as a provider takes and gives them: what a model wrote is text within them.
_BODIES = {"request", "sent", "response"}
#: Words that may repeat a part of an answer.
_QUOTING = {"reason", "message", "reasoning", "detail", "verdict_reason", "note"}


def hide_private(told: dict[str, Any], beside: Collection[str] = ()) -> dict[str, Any]:
    """
    The same without the values that a prompt of the row's chain declares private.

    Args:
        told: What is told of a row.
        beside: What is private besides, whatever these prompts declare.
    """
    names = _list_private(told) | frozenset(beside)
    if not names:
        return told | {"private": []}
    values: dict[str, list[str]] = {}
    for name, value in sorted(_find_values(told, names)):
        values.setdefault(name, []).extend(_forms(value))
    # One for all of them: a value that is there whole is looked for before the beginnings of others.
    hidden: dict[str, Any] = _Hiding(names, Veil(names, values)).hide(told)
    return hidden | {"private": sorted(names)}


def _list_private(told: Mapping[str, Any]) -> frozenset[str]:
    steps = [told, *told.get("earlier", ()), *told.get("later", ())]
    return frozenset().union(*map(_find_private, steps))


def _find_private(step: Mapping[str, Any]) -> frozenset[str]:
    prompt = step.get("prompt") or {}
    text, schema = ((prompt.get("files") or {}).get(name, "") for name in ("prompt.md", "output.schema.json"))
    request = step.get("request") or {}
    text, schema = text or request.get("text", ""), schema or request.get("schema", "")
    # Reading front matter takes a quarter of a second; in YAML a backslash may write any word otherwise.
    front = text.split("\n---\n", 1)[0]
    if "private" not in front and "\\" not in front:
        return frozenset()
    from overnight.prompts import parse_prompt  # noqa: PLC0415 - for the same reason

    try:
        parsed = parse_prompt(prompt.get("name", ""), text=text, schema=schema, checks='{"row": [], "batch": []}')
    except PromptRefused:
        # It cannot be told what it declares: nothing of the row is shown.
        return frozenset((step.get("input") or {}).keys() | (step.get("output") or {}).keys())
    return frozenset(parsed.private)


def _find_values(told: Any, names: frozenset[str]) -> set[tuple[str, str]]:
    """Each text or number that stands under a private name, in whatever attempt, answer or correction."""
    named = (pair for place, value in _walk(told) if place in _ROWS | _BODIES for pair in _walk(_open(place, value)))
    return {(name, text) for name, value in named if name in names for text in _list_leaves(value)}


def _open(place: str, value: Any) -> Any:
    """The rows in what stands at a place: itself, or what the texts of a body write out."""
    if place in _ROWS or not isinstance(value, str):
        return (_parse(value) if isinstance(value, str) else value) if place in _ROWS else None
    return [parsed for text in _list_texts(_parse(value)) if (parsed := _parse(text)) is not None]


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every name with what stands under it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name), inner
            yield from _walk(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _walk(inner)


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _list_texts(inner)


def _list_leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _list_leaves(inner)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _forms(text: str) -> list[str]:
    """The text as it stands in plain words, and in JSON within JSON, with escapes for all but ASCII or not."""
    forms = {text, text.strip()}
    for ascii_only in (True, False):
        form = text
        for _ in range(_DEPTH):
            form = json.dumps(form, ensure_ascii=ascii_only)[1:-1]
            forms.add(form)
    return sorted(forms, key=lambda form: (-len(form), form))


def _parse(text: str) -> Any:
    """The object or list that the text writes out, if it does."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


@dataclass(frozen=True)
class _Hiding:
    """Values by their names where rows stand, and by what they say everywhere."""

    names: frozenset[str]
    veil: Veil

    def hide(self, value: Any) -> Any:
        """Of what is told by our own names."""
        if isinstance(value, Mapping):
            return {name: self._hide_at(str(name), inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(inner) for inner in value]
        return self._hide_text(value) if isinstance(value, str) else value

    def _hide_at(self, place: str, value: Any) -> Any:
        if place in _ROWS:
            return self._hide_row_text(value, place) if isinstance(value, str) else self._hide_row(value)
        if place in _BODIES and isinstance(value, str):
            return self._hide_body(value)
        if place in _QUOTING and isinstance(value, str):
            return self._cut(self._hide_text(value))
        return self.hide(value)

    def _hide_row_text(self, text: str, place: str) -> str:
        if (parsed := _parse(text)) is not None:
            return orjson.dumps(self._hide_row(parsed)).decode()
        # One word of a verdict, or what is no JSON: a mail.
        return text if place == "verdict" or not text else "[private]"

    def _hide_row(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                name: f"[private: {name}]" if name in self.names and inner not in (None, "") else self._hide_row(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._hide_row(inner) for inner in value]
        return self._hide_text(value) if isinstance(value, str) else value

    def _hide_body(self, text: str) -> str:
        parsed = _parse(text)
        return self._cut(self._hide_text(text)) if parsed is None else orjson.dumps(self._hide_texts(parsed)).decode()

    def _hide_texts(self, value: Any) -> Any:
        """The texts of a body: a model's answer is a row."""
        if isinstance(value, Mapping):
            # A prompt may show how an answer looks; what a model wrote is cut where it is no whole answer.
            is_asked = value.get("role") in ("user", "system", "developer")
            return {
                name: inner if name == "role" else self._hide_said(inner, is_asked) for name, inner in value.items()
            }
        return self._hide_said(value, is_asked=False)

    def _hide_said(self, value: Any, is_asked: bool) -> Any:
        if isinstance(value, list):
            return [
                self._hide_texts(inner) if isinstance(inner, Mapping) else self._hide_said(inner, is_asked)
                for inner in value
            ]
        if isinstance(value, Mapping):
            return self._hide_texts(value)
        if not isinstance(value, str):
            return value
        if (parsed := _parse(value)) is not None:
            return orjson.dumps(self._hide_row(parsed)).decode()
        hidden = self._hide_text(value)
        return hidden if is_asked else self._cut(hidden)

    def _hide_text(self, text: str) -> str:
        return self.veil.hide_text(text)

    def _cut(self, text: str) -> str:
        """An answer that was cut off, or is no JSON, may hold a value that stands nowhere else."""
        names = "|".join(re.escape(name) for name in sorted(self.names))
        return re.sub(rf"""(\\*["'](?:{names})\\*["']\s*:).*""", rf"\1 {_CUT}", text, flags=re.DOTALL)
