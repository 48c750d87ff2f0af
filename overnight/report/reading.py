"""What people say of rows that they read: taken from untrusted text, held against what was shown, and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
import pydantic

from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.readings import Reading, record_readings
from overnight.report.to_read import RowToRead

_MOST_CHARACTERS = 2000


class Said(pydantic.BaseModel):
    """What was said of one row."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    verdict: Literal["correct", "wrong", "unsure"]
    note: str = pydantic.Field(default="", max_length=_MOST_CHARACTERS)

    @pydantic.model_validator(mode="after")
    def _demand_note(self) -> Said:
        if self.verdict == "wrong" and not self.note.strip():
            raise ValueError("a row called wrong needs a note that says what is wrong")
        return self


_ALL = pydantic.TypeAdapter(dict[str, Said])


def parse_said(data: bytes) -> dict[str, Said]:
    """
    What was said of each row, by its id.

    Raises:
        ReviewRefused: It is no JSON of that form, or a row called wrong has no note.
    """
    try:
        return _ALL.validate_python(orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise ReviewRefused(f"The answers are no JSON ({error}). Mend them and send them again.") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answers"
        raise ReviewRefused(
            f"The answers do not fit at {where}: {first['msg']}. Give"
            ' {"ROW": {"verdict": "correct", "wrong" or "unsure", "note": "…"}}.'
        ) from error


def record_said(
    sample: Sequence[RowToRead], said: Mapping[str, Said], *, reader: str, ledger: Ledger, now: float
) -> list[Reading]:
    """
    Record what was said of rows of a sample.

    Raises:
        ReviewRefused: A row was not shown.
    """
    shown = {row.row_id: row for row in sample}
    if others := [row_id for row_id in said if row_id not in shown]:
        raise ReviewRefused(
            f"Row {others[0]!r} is not among the {len(sample)} rows that are shown now. `overnight read --json` prints"
            " them; give the same -n."
        )
    given = [_make_reading(shown[row_id], one, reader, now) for row_id, one in said.items()]
    ledger.write(lambda connection: record_readings(connection, given))
    return given


def _make_reading(row: RowToRead, said: Said, reader: str, now: float) -> Reading:
    named: dict[str, Any] = {"verdict": said.verdict, "note": said.note.strip(), "reader": reader, "recorded_at": now}
    return Reading(row.run_id, row.step, row.row_id, row.request_key, row.output_digest, picked_for=row.why, **named)
