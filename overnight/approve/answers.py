"""What a reviewer answered, read from untrusted text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
import pydantic

from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.reviews import find_last_answer
from overnight.records import Release

_STRICT = pydantic.ConfigDict(extra="forbid", str_strip_whitespace=True)
_Line = Annotated[str, pydantic.Field(max_length=2000)]


class Wrong(pydantic.BaseModel):
    """The row is wrong, and why."""

    model_config = _STRICT
    wrong: _Line


class Corrected(pydantic.BaseModel):
    """The row is right with these fields in place of its own."""

    model_config = pydantic.ConfigDict(extra="forbid")
    corrected: dict[str, Any] = pydantic.Field(min_length=1)


Verdict = Literal["correct", "wrong", "unsure"] | Wrong | Corrected


class Answers(pydantic.BaseModel):
    """What a reviewer answered: untrusted until `decide` has held it against what was shown."""

    model_config = _STRICT

    #: "hold": what was read as correct leaves, and what nobody read stays.
    decision: Literal["release", "hold", "reject"]
    reviewer: str = pydantic.Field(min_length=1, max_length=200)
    #: The reviewer's one-time code; it is not kept.
    code: str | None = pydantic.Field(default=None, max_length=20)
    reason: _Line = ""
    #: A verdict on each item shown, by its number.
    items: dict[int, Verdict]
    #: How long the reading took, where that was measured.
    seconds: float | None = pydantic.Field(default=None, ge=0, allow_inf_nan=False)
    #: What was shown, where the answers say it.
    release: str | None = None
    round: int | None = None


def parse_answers(data: bytes | dict[str, Any], *, reviewer: str | None = None, code: str | None = None) -> Answers:
    """
    Read answers from JSON or a form.

    Raises:
        ReviewRefused: A field is missing or has a value that is not offered.
    """
    try:
        if isinstance(data, bytes):
            data = dict(pydantic.TypeAdapter(dict[str, Any]).validate_json(data))
        given = {"reviewer": reviewer, "code": code}
        return Answers.model_validate(data | {name: value for name, value in given.items() if value})
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


def write_verdict(verdict: Verdict) -> Any:
    """A verdict as it is recorded: a word, {"wrong": why} or {"corrected": the fields}."""
    return verdict if isinstance(verdict, str) else verdict.model_dump()


def find_answers(ledger: Ledger, release: Release) -> Answers:
    """
    The answers that decided a release; the code is not kept.

    Raises:
        ReviewRefused: Nobody has answered yet.
    """
    with ledger.reading() as connection:
        last = find_last_answer(connection, release.release_id)
    if last is None:
        raise ReviewRefused(f"Release {release.release_id} has no answers yet. Review run {release.run_id} first.")
    given = {"decision": last.decision, "reviewer": last.reviewer, "reason": last.reason}
    return parse_answers(given | {"items": orjson.loads(last.verdicts)})
