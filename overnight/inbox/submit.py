"""Taking requests in: a row is looked at, named and kept; nothing is asked of a model here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from overnight.failures import InputRefused
from overnight.keys import canonical_json, inbox_key
from overnight.ledger import Ledger
from overnight.ledger.inbox import Arrival, enqueue
from overnight.masking import mask_secrets
from overnight.records import Prompt

#: Characters of a key that name a row whose prompt declares no id.
_ID_LENGTH = 16
#: A NUL in JSON; after an odd number of backslashes more it is those six characters.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: The most bytes of one row, as canonical JSON.
MOST_ROW_BYTES = 2**20


@dataclass(frozen=True)
class Submitted:
    """What became of a row that was handed in."""

    inbox_key: str
    row_id: str
    #: False where it had been handed in before: it stands where it stands.
    is_new: bool


def submit(row: Mapping[str, Any], prompt: Prompt, *, ledger: Ledger, sent_by: str, now: float) -> Submitted:
    """
    Keep a row as a request to this prompt, once it is on disk.

    Args:
        row: Its declared inputs, and its id where the prompt declares one.
        prompt: The folder's; the run that takes the request pins the one of its own time.
        ledger: Where it is kept.
        sent_by: Who hands it in.
        now: Seconds since the epoch.

    Raises:
        InputRefused: The row lacks what the prompt declares, holds what it does not, or is too large.
    """
    return submit_all([row], prompt, ledger=ledger, sent_by=sent_by, now=now)[0]


def submit_all(
    rows: Sequence[Mapping[str, Any]], prompt: Prompt, *, ledger: Ledger, sent_by: str, now: float
) -> list[Submitted]:
    """
    Keep several rows in one transaction; as `submit`, and either all are kept or none.

    Raises:
        InputRefused: A row is not one that the prompt can be asked.
    """
    return keep([make_arrival(row, prompt, sent_by=sent_by, now=now) for row in rows], ledger=ledger)


def keep(arrivals: Sequence[Arrival], *, ledger: Ledger) -> list[Submitted]:
    """Keep requests in one transaction: all, or none."""
    is_new = ledger.write(lambda connection: enqueue(connection, arrivals))
    return [Submitted(a.inbox_key, a.row_id, new) for a, new in zip(arrivals, is_new, strict=True)]


def make_arrival(row: Mapping[str, Any], prompt: Prompt, *, sent_by: str, now: float) -> Arrival:
    """
    The request that a row makes to this prompt; nothing is kept yet.

    Raises:
        InputRefused: As for `submit`.
    """
    values = {name: value for name, value in row.items() if value is not None}
    _refuse_unfit(values, prompt)
    # The column that names a row may be one that the prompt reads, too.
    read = {*prompt.inputs, *prompt.optional_inputs}
    given = mask_secrets(_encode({name: values[name] for name in sorted(values) if name in read}))
    own_id = mask_secrets(str(values[prompt.id_column])) if prompt.id_column else ""
    key = inbox_key(prompt.name, own_id, given)
    return Arrival(key, prompt.name, own_id or key[:_ID_LENGTH], given, sent_by, now)


def _refuse_unfit(values: Mapping[str, Any], prompt: Prompt) -> None:
    needed = [*prompt.inputs, *([prompt.id_column] if prompt.id_column else [])]
    allowed = {*needed, *prompt.optional_inputs}
    if missing := [name for name in needed if values.get(name) is None or not str(values[name]).strip()]:
        raise InputRefused(
            f"The row has no {missing[0]!r}, which prompt {prompt.name} needs. It needs {_list(needed)}."
        )
    if unknown := sorted(values.keys() - allowed):
        raise InputRefused(
            f"The row has {unknown[0]!r}, which prompt {prompt.name} does not read. It reads {_list(sorted(allowed))}."
        )
    if prompt.id_column and isinstance(values[prompt.id_column], bool | float | list | dict):
        raise InputRefused(f"The row's {prompt.id_column!r} is no text and no whole number. Name the row by one.")


def _encode(values: Mapping[str, Any]) -> str:
    try:
        text = canonical_json(values).decode()
    except (orjson.JSONEncodeError, TypeError) as error:
        raise InputRefused(f"The row cannot be written as JSON ({error}). Send UTF-8, and nest it less.") from error
    if _NUL.search(text):
        raise InputRefused("The row holds a NUL character, which no ledger keeps. Send it without.")
    if len(text) > MOST_ROW_BYTES:
        raise InputRefused(f"The row has {len(text):,} characters as JSON; at most {MOST_ROW_BYTES:,} are taken.")
    return text


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
