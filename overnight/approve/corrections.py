"""Rows that leave otherwise than they were offered: a reviewer's correction, as the bytes that are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from overnight.ledger.approvals import CorrectedRow
from overnight.ledger.bodies import make_body, record_bodies
from overnight.ledger.completions import find_models
from overnight.ledger.releases import ReleaseRow, find_prompt_of
from overnight.payloads import make_payload
from overnight.records import Release


def correct_rows(
    connection: sa.Connection,
    release: Release,
    rows: Sequence[ReleaseRow],
    corrected: Mapping[int, Any],
    held: Mapping[int, str],
) -> list[CorrectedRow]:
    """The corrected rows that are not held, with their bytes recorded beside those that were offered."""
    chosen = [row for row in rows if row.position in corrected and row.position not in held]
    prompt = find_prompt_of(connection, release.release_id)
    models = find_models(connection, [row.request_key for row in chosen])
    payloads = [
        make_payload(
            {
                "row_id": row.row_id,
                "output": corrected[row.position],
                "request_key": row.request_key,
                "prompt_hash": prompt.prompt_hash,
                "model": models.get(row.request_key) or prompt.model,
            },
            sink=release.sink,
        )
        for row in chosen
    ]
    record_bodies(connection, [make_body(p.body) for p in payloads])
    return [CorrectedRow(row.position, p.digest, p.delivery_key) for row, p in zip(chosen, payloads, strict=True)]
