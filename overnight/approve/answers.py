"""What a reviewer answered, read from untrusted text."""

from __future__ import annotations

from typing import Any, Literal

import orjson
import pydantic

from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.releases import find_last_answer
from overnight.records import Release

Verdict = Literal["correct", "wrong", "unsure"]


class Answers(pydantic.BaseModel):
    """What a reviewer answered: untrusted until `decide` has held it against what was shown."""

    model_config = pydantic.ConfigDict(extra="forbid", str_strip_whitespace=True)

    decision: Literal["release", "reject"]
    reviewer: str = pydantic.Field(min_length=1, max_length=200)
    reason: str = pydantic.Field(default="", max_length=2000)
    #: A verdict on each item shown, by its number.
    items: dict[int, Verdict]


def parse_answers(data: bytes | dict[str, Any], *, reviewer: str | None = None) -> Answers:
    """
    Read answers from JSON or a form.

    Raises:
        ReviewRefused: A field is missing or has a value that is not offered.
    """
    try:
        if isinstance(data, bytes):
            data = dict(pydantic.TypeAdapter(dict[str, Any]).validate_json(data))
        return Answers.model_validate(data | ({"reviewer": reviewer} if reviewer else {}))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("reviewer",):
            raise ReviewRefused("The answers do not say whose they are. Give --reviewer NAME.") from error
        if first["loc"] == ("items",):
            raise ReviewRefused(
                'The answers\' "items" are not verdicts by item: give {"1": "correct", "2": "wrong", "3": "unsure", …}.'
            ) from error
        where = ".".join(str(part) for part in first["loc"]) or "the answers"
        raise ReviewRefused(
            f"The review's answers do not fit at {where}: {first['msg']}. Mend it and send them again."
        ) from error


def find_answers(ledger: Ledger, release: Release) -> Answers:
    """
    The answers that decided a release.

    Raises:
        ReviewRefused: Nobody has answered yet.
    """
    with ledger.reading() as connection:
        last = find_last_answer(connection, release.release_id)
    if last is None:
        raise ReviewRefused(f"Release {release.release_id} has no answers yet. Review run {release.run_id} first.")
    given = {"decision": last.decision, "reviewer": last.reviewer, "reason": last.reason}
    return parse_answers(given | {"items": orjson.loads(last.verdicts)})
