"""Payloads: a row as the exact bytes that a sink sends, already neutralised, fixed before a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overnight.keys import delivery_key, digest_bytes
from overnight.payloads.bodies import write_body
from overnight.payloads.names import kind_of, sink_name
from overnight.records import Payload

__all__ = ["kind_of", "make_payload", "sink_name"]


def make_payload(row: Mapping[str, Any], *, sink: str) -> Payload:
    """
    The bytes that leave for one row: the output's fields beside its id and origin, as the kind of sink takes them.

    Args:
        row: With row_id, output (a mapping), request_key, prompt_hash and model.
        sink: Its address; a part of the delivery key.
    """
    name = sink_name(sink)
    origin = {field: row[field] for field in ("row_id", "request_key", "prompt_hash", "model")}
    body = write_body({**row["output"], **origin}, sink=name)
    digest = digest_bytes(body)
    return Payload(row["row_id"], body, digest, delivery_key(name, row["row_id"], digest))
