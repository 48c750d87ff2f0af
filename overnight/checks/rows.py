"""Row rules: judged over one row's input and output before the answer is accepted, where a re-ask still helps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config

Name = Annotated[str, Field(min_length=1)]
_AS_WRITTEN = with_config(ConfigDict(extra="forbid", strict=True))


@_AS_WRITTEN
@dataclass(frozen=True)
class Verbatim:
    """The field is a non-empty exact piece of the named input."""

    field: Name
    of: Name
    rule: Literal["verbatim"] = "verbatim"


@_AS_WRITTEN
@dataclass(frozen=True)
class MaxChars:
    """The field has at most `limit` characters."""

    field: Name
    limit: Annotated[int, Field(gt=0)]
    rule: Literal["max_chars"] = "max_chars"


@_AS_WRITTEN
@dataclass(frozen=True)
class Forbidden:
    """None of the phrases stands in the field, whatever their case."""

    field: Name
    phrases: Annotated[tuple[Name, ...], Field(min_length=1)]
    rule: Literal["forbidden"] = "forbidden"


@_AS_WRITTEN
@dataclass(frozen=True)
class NotEcho:
    """The field is not the named input again, apart from case and white space."""

    field: Name
    of: Name
    rule: Literal["not_echo"] = "not_echo"


RowRule = Verbatim | MaxChars | Forbidden | NotEcho


def check_row(
    rules: Sequence[RowRule],
    input: Mapping[str, Any],  # noqa: A002 - the glossary's word for what a row is given
    output: Mapping[str, Any],
) -> tuple[str, str] | None:
    """
    The first rule that the row fails, as (label, reason); None if it passes all.

    A field that is absent or null passes every rule but `verbatim`.
    """
    for rule in rules:
        reason = _find_fault(rule, input, output)
        if reason:
            return f"{rule.rule}({rule.field})", reason
    return None


def _find_fault(rule: RowRule, given: Mapping[str, Any], output: Mapping[str, Any]) -> str | None:
    value = output.get(rule.field)
    if isinstance(rule, Verbatim):
        return _find_invention(rule, given.get(rule.of), value)
    if value is None:
        return None
    text = _as_text(value)
    match rule:
        case MaxChars():
            return _find_excess(rule, text)
        case Forbidden():
            return _find_phrase(rule, text)
        case NotEcho():
            return _find_echo(rule, given.get(rule.of), text)


def _find_invention(rule: Verbatim, source: Any, value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return f"{rule.field} must quote {rule.of} word for word, but it is empty or not text"
    if source is None:
        return f"{rule.field} must quote {rule.of}, but the row has no {rule.of}"
    if value not in _as_text(source):
        return f"{rule.field} must quote {rule.of} word for word, but its text does not stand there"
    return None


def _find_excess(rule: MaxChars, text: str) -> str | None:
    if len(text) <= rule.limit:
        return None
    return f"{rule.field} has {len(text)} characters, more than the {rule.limit} allowed"


def _find_phrase(rule: Forbidden, text: str) -> str | None:
    folded = text.casefold()
    found = next((p for p in rule.phrases if p.casefold() in folded), None)
    return None if found is None else f'{rule.field} contains the forbidden phrase "{found}"'


def _find_echo(rule: NotEcho, source: Any, text: str) -> str | None:
    if source is None or _normalise(_as_text(source)) != _normalise(text):
        return None
    return f"{rule.field} only repeats {rule.of}"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _normalise(text: str) -> str:
    return " ".join(text.split()).casefold()
