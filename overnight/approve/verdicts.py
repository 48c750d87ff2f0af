"""What a reviewer says of one item, read from untrusted text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
import pydantic
from pydantic_core import PydanticCustomError

from overnight.failures import ReviewRefused

STRICT = pydantic.ConfigDict(extra="forbid", str_strip_whitespace=True)
#: Characters of a reason.
MOST = 2000
UNBORNE = "a character that a ledger does not bear"
#: Pydantic's name for half a surrogate pair, and ours for a NUL, which Postgres takes in no text.
BROKEN = ("string_unicode", "unborne")


def _bear(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("unborne", UNBORNE)
    return text


def _keep(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, where they come back from a record as they are."""
    try:
        is_kept = orjson.loads(orjson.dumps(fields)) == fields
    except TypeError:
        is_kept = False
    if not is_kept:
        raise PydanticCustomError("unkept", "a value that cannot be recorded")
    return fields


Text = Annotated[str, pydantic.AfterValidator(_bear)]
Line = Annotated[Text, pydantic.Field(max_length=MOST)]


class Wrong(pydantic.BaseModel):
    """The row is wrong, and why."""

    model_config = STRICT
    wrong: Line


class Corrected(pydantic.BaseModel):
    """The row is right with these fields in place of its own."""

    model_config = pydantic.ConfigDict(extra="forbid")
    corrected: Annotated[dict[str, Any], pydantic.Field(min_length=1), pydantic.AfterValidator(_keep)]


def _find_kind(verdict: Any) -> str | None:
    """Which kind of verdict is meant, so that what is wrong with it is said of that kind alone."""
    if isinstance(verdict, str):
        return "word"
    names = verdict if isinstance(verdict, Mapping) else getattr(verdict, "__dict__", ())
    return next((name for name in ("wrong", "corrected") if name in names), None)


Verdict = Annotated[
    Annotated[Literal["correct", "wrong", "unsure"], pydantic.Tag("word")]
    | Annotated[Wrong, pydantic.Tag("wrong")]
    | Annotated[Corrected, pydantic.Tag("corrected")],
    pydantic.Discriminator(_find_kind),
]
_VERDICT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Verdict)
#: What is said of a verdict that is none, by pydantic's name for the fault.
_SAID = {
    "too_short": "The correction of item {n} changes nothing. Give the fields that change, or call the item correct.",
    **dict.fromkeys(BROKEN, f"The verdict on item {{n}} holds {UNBORNE}. Leave it out."),
    "unkept": "The correction of item {n} cannot be recorded: it holds an integer beyond 64 bits, a number that is not"
    " finite, or what is nested too deeply. Correct it otherwise, or call the item wrong.",
    "string_too_long": f"What is wrong with item {{n}} takes more than {MOST:,} characters. Shorten it.",
}
_NONE = (
    'The verdict on item {n} is none: give "correct", "wrong", "unsure", {{"wrong": "why"}} or'
    ' {{"corrected": {{fields}}}}.'
)


def parse_verdict(number: int, given: Any) -> Verdict:
    """
    Read the verdict on an item.

    Raises:
        ReviewRefused: It is none, or cannot be recorded.
    """
    try:
        return _VERDICT.validate_python(given)  # type: ignore[no-any-return]
    except pydantic.ValidationError as error:
        raise ReviewRefused(_SAID.get(error.errors()[0]["type"], _NONE).format(n=number)) from error


def write_verdict(verdict: Verdict) -> Any:
    """A verdict as it is recorded: a word, {"wrong": why} or {"corrected": the fields}."""
    return verdict if isinstance(verdict, str) else verdict.model_dump()
