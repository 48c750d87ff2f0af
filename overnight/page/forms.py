"""What a form of the page sends."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

#: Of a form: more than any answer that a person edits.
_MOST_BYTES = 4_000_000
_MOST_FIELDS = 1000


def find_seconds(form: Mapping[str, str]) -> float | None:
    """How long the browser says that an item was seen; None: it does not say."""
    try:
        seconds = float(form.get("seconds", ""))
    except ValueError:
        return None
    # What is no time at all is measured here.
    return seconds if seconds >= 0 else None


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form; of one that is sent twice, the last."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            raise HTTPException(413, "This is longer than a form of this page can be.")
    try:
        fields = parse_qs(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise HTTPException(400, "This is no form of this page.") from error
    return {name: values[-1] for name, values in fields.items()}
