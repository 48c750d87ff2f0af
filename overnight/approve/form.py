"""The fields of a review's form: one name an item, the same wherever the form is made, filled in or read."""

from __future__ import annotations

from typing import Any

from overnight.approve.answers import Answers
from overnight.records import ReviewItem

_PREFIX = "item_"


def name_field(item: ReviewItem) -> str:
    """The form's field for an item's verdict."""
    return f"{_PREFIX}{item.item:02d}"


def fill_form(answers: Answers) -> dict[str, Any]:
    """Answers as a filled form, as Prefect's API takes it."""
    verdicts = {f"{_PREFIX}{number:02d}": verdict for number, verdict in answers.items.items()}
    return verdicts | {"decision": answers.decision, "reviewer": answers.reviewer, "reason": answers.reason}


def read_form(values: dict[str, Any]) -> dict[str, Any]:
    """A filled form as the answers that `parse_answers` takes."""
    items = {name.removeprefix(_PREFIX): v for name, v in values.items() if name.startswith(_PREFIX)}
    others = {name: v for name, v in values.items() if not name.startswith(_PREFIX)}
    return others | {"items": {int(number): v for number, v in items.items()}}
