"""Rows as the bytes of one file: .jsonl, .csv or .parquet, the same rows giving the same bytes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from overnight.failures import SinkRefused
from overnight.payloads.bodies import FORMULA_STARTS
from overnight.sinks.contract import Consignment, Outcome
from overnight.sinks.errors import DeliveryFailed

_RELEASE_ID = re.compile(r"[A-Za-z0-9._-]+")


def format_rows(bodies: Sequence[bytes], suffix: str, where: str) -> bytes:
    """
    The bytes of a file that holds these rows in this order.

    Args:
        bodies: A JSON object each, on one line.
        suffix: ".jsonl", ".csv" or ".parquet".
        where: Where the file is to stand, for people.

    Raises:
        DeliveryFailed: The rows do not fit such a file.
    """
    return _WRITERS[suffix](bodies, where)


def is_same_file(found: bytes, ours: bytes, suffix: str) -> bool:
    """
    Whether what was found is what was written: the same bytes, or the same parquet table.

    A parquet file names the version of the library that wrote it: after an upgrade the same rows give other bytes.
    """
    if found == ours:
        return True
    if suffix != ".parquet":
        return False
    try:
        return bool(_read_table(found).equals(_read_table(ours)))
    except (pa.ArrowException, OSError):
        return False


def refuse_unfit(body: bytes, suffix: str, where: str) -> None:
    """
    Refuse a destination that could not hold this row, nor therefore any release with it.

    Raises:
        SinkRefused: The row does not fit such a file.
    """
    try:
        format_rows([body], suffix, where)
    except DeliveryFailed as error:
        raise SinkRefused(str(error)) from error


def get_release_part(consignment: Consignment) -> str:
    """
    The release's id as a part of a file's name.

    Raises:
        SinkRefused: It holds what could lead elsewhere.
    """
    if not _RELEASE_ID.fullmatch(consignment.release_id):
        raise SinkRefused(
            f"The release {consignment.release_id!r} cannot be a part of a file's name. Give it an id of ASCII letters,"
            " digits, '.', '_' and '-'."
        )
    return consignment.release_id


def settle_all(consignment: Consignment, *, is_delivered: bool, detail: str) -> list[Outcome]:
    """One outcome for every row: a file holds a release whole or not at all."""
    return [Outcome(is_delivered=is_delivered, detail=detail)] * len(consignment.payloads)


def _format_jsonl(bodies: Sequence[bytes], _where: str) -> bytes:
    return b"".join(body + b"\n" for body in bodies)


def _format_csv(bodies: Sequence[bytes], _where: str) -> bytes:
    rows = [orjson.loads(body) for body in bodies]
    names = _list_columns(rows)
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([_write_cell(name) for name in names])
    writer.writerows([_write_cell(row.get(name)) for name in names] for row in rows)
    return file.getvalue().encode()


def _write_cell(value: Any) -> str:
    """A value as text that no spreadsheet computes; a number stays a number."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    # Lists and objects start with a bracket, so their JSON is no formula.
    return orjson.dumps(value).decode()


def _format_parquet(bodies: Sequence[bytes], where: str) -> bytes:
    rows = [orjson.loads(body) for body in bodies]
    buffer = io.BytesIO()
    try:
        table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in _list_columns(rows)})
        pq.write_table(table, buffer)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        why = " ".join(str(error).split())
        raise DeliveryFailed(
            f"The rows for {where} do not fit one parquet table ({why}). Offer them to a .jsonl file instead."
        ) from error
    return buffer.getvalue()


def _read_table(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def _list_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every field of any row, in the order in which it is first seen."""
    return list(dict.fromkeys(name for row in rows for name in row))


_WRITERS: dict[str, Callable[[Sequence[bytes], str], bytes]] = {
    ".jsonl": _format_jsonl,
    ".csv": _format_csv,
    ".parquet": _format_parquet,
}
