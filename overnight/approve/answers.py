"""What a reviewer answered, read from untrusted text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
import pydantic
from pydantic_core import PydanticCustomError

from overnight.approve.verdicts import BROKEN, STRICT, UNBORNE, Line, Text, Verdict, parse_verdict
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.reviews import find_last_answer
from overnight.records import Release


def _read_items(given: Any) -> dict[int, Verdict]:
    if not isinstance(given, Mapping):
        raise PydanticCustomError("dict_type", "not verdicts by item")
    return {(number := _read_number(name)): parse_verdict(number, verdict) for name, verdict in given.items()}


def _read_number(name: Any) -> int:
    # Not as pydantic reads a number: "1" and "01" would be one item, and the later verdict would stand.
    if not (text := str(name)).isascii() or not text.isdecimal() or text.startswith("0") or len(text) > 9:  # noqa: PLR2004 - digits
        raise ReviewRefused(
            f'The review\'s answers do not fit at items.{_show(name)}: an item goes by its number, such as "1". Mend it'
            " and send them again."
        )
    return int(text)


class Answers(pydantic.BaseModel):
    """What a reviewer answered: untrusted until `decide` has held it against what was shown."""

    model_config = STRICT

    #: "hold": what was read as correct leaves, and what nobody read stays.
    decision: Literal["release", "hold", "reject"]
    reviewer: Text = pydantic.Field(min_length=1, max_length=200)
    #: The reviewer's one-time code; it is not kept.
    code: str | None = pydantic.Field(default=None, max_length=20)
    reason: Line = ""
    #: A verdict on each item shown, by its number.
    items: Annotated[dict[int, Verdict], pydantic.BeforeValidator(_read_items)]
    #: How long the reading took, where that was measured.
    seconds: float | None = pydantic.Field(default=None, ge=0, allow_inf_nan=False)
    #: What was shown, where the answers say it.
    release: str | None = None
    round: int | None = None


def parse_answers(data: bytes | dict[str, Any], *, reviewer: str | None = None, code: str | None = None) -> Answers:
    """
    Read answers from JSON or a form.

    Raises:
        ReviewRefused: They are no JSON object, say something twice, or a field is missing or has a value that is not
            offered.
    """
    if isinstance(data, bytes):
        data = _read_json(data)
    given = {"reviewer": reviewer, "code": code}
    try:
        return Answers.model_validate(data | {name: value for name, value in given.items() if value})
    except pydantic.ValidationError as error:
        raise _refuse(**error.errors()[0]) from error


def _refuse(*, type: str, loc: tuple[int | str, ...], msg: str, **_: Any) -> ReviewRefused:  # noqa: A002 - pydantic's
    if loc == ("reviewer",) and type in {"missing", "string_type", "string_too_short"}:
        return ReviewRefused("The answers do not say whose they are. Give --reviewer NAME.")
    if loc == ("items",):
        return ReviewRefused(
            'The answers\' "items" are not verdicts by item: give {"1": "correct", "2": "wrong", "3": "unsure", …}.'
        )
    why = UNBORNE if type in BROKEN else msg
    where = ".".join(_show(part) for part in loc) or "the answers"
    return ReviewRefused(f"The review's answers do not fit at {where}: {why}. Mend it and send them again.")


def _show(name: Any) -> str:
    """What somebody else named, as part of a line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name)[:100])


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        # Not orjson: of a name that stands twice it keeps the last.
        given = json.loads(data, object_pairs_hook=_read_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _refuse_json(str(error)) from error
    if not isinstance(given, dict):
        raise _refuse_json(f"a {type(given).__name__}")
    return given


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            what = f"Item {name}" if name.isdecimal() else f'"{_show(name)}"'
            raise ReviewRefused(f"{what} stands twice in the answers, and one may contradict the other. Give it once.")
        found[name] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _refuse_json(why: str) -> ReviewRefused:
    return ReviewRefused(f"The answers are no JSON object ({why}). Mend them and send them again.")


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
