"""The fields of a review's form: one name an item, the same wherever the form is made, filled in or read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from overnight.approve.answers import Answers
from overnight.failures import ReviewRefused
from overnight.records import ReviewItem

_PREFIX = "item_"
#: What a form offers as a decision where its rows are read elsewhere: the ledger says what was decided there.
ELSEWHERE = "reviewed elsewhere"


def name_field(item: ReviewItem) -> str:
    """The form's field for an item's verdict."""
    return f"{_PREFIX}{item.item:02d}"


def fill_form(answers: Answers, schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    A form filled so that a run goes on whose review was recorded elsewhere: the flow reads the ledger, not this.

    Args:
        answers: What was recorded.
        schema: The form's own, as JSON schema: it may be that of another round.
    """
    fields: dict[str, Any] = {"reviewer": answers.reviewer, "reason": answers.reason, "code": "0" * 6}
    fields["decision"] = ELSEWHERE
    for name, field in schema["properties"].items():
        offered = field.get("enum")
        if offered and fields.get(name) not in offered:
            given = answers.decision if name == "decision" else _find_word(answers, name)
            fields[name] = given if given in offered else offered[-1]
    return {name: value for name, value in fields.items() if name in schema["properties"]}


def read_form(values: dict[str, Any]) -> dict[str, Any]:
    """
    A filled form as the answers that `parse_answers` takes.

    Raises:
        ReviewRefused: The corrections are no JSON.
    """
    items: dict[int, Any] = {
        int(name.removeprefix(_PREFIX)): v for name, v in values.items() if name.startswith(_PREFIX)
    }
    others = {name: v for name, v in values.items() if not name.startswith(_PREFIX)}
    corrections = others.pop("corrections", "")
    return others | {"items": items | _read_corrections(corrections)}


def _find_word(answers: Answers, name: str) -> Any:
    return answers.items.get(int(name.removeprefix(_PREFIX))) if name.startswith(_PREFIX) else None


def _read_corrections(text: str) -> dict[int, Any]:
    if not text.strip():
        return {}
    try:
        given = orjson.loads(text)
        return {int(item): {"corrected": dict(fields)} for item, fields in dict(given).items()}
    except (ValueError, TypeError) as error:
        raise ReviewRefused(
            'The corrections are not JSON such as {"3": {"category": "bug"}}: items by their number, and of each the'
            " fields that change. Mend them, or leave them empty."
        ) from error
