"""Offering a release: the bytes that would leave are made once, and their digest is fixed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from overnight.failures import ApprovalRefused
from overnight.keys import canonical_json, digest_bytes, digest_parts
from overnight.ledger import Ledger
from overnight.ledger.bodies import make_body
from overnight.ledger.releases import ReleaseRow, find_doubted, find_release, record_release
from overnight.ledger.runs import is_recorded
from overnight.parts import read_part
from overnight.payloads import make_payload, sink_name
from overnight.records import CheckedBatch, Payload, Prompt, Release, ReviewItem, RowState

#: Rows that a review shows, at most: as many as a form bears.
N_SHOWN = 25


@dataclass(frozen=True)
class _Offered:
    row: dict[str, Any]
    payload: Payload


def offer_release(
    checked: list[CheckedBatch], *, run_id: str, sink: str, prompt: Prompt, ledger: Ledger, home: Path, now: float
) -> Release:
    """
    Record the accepted rows of a run as a release for one sink; the same rows are the same release.

    Raises:
        ApprovalRefused: A batch was not made by the check step, or no row was accepted.
        SinkRefused: The sink's address is not one that may be written to.
    """
    sink = sink_name(sink)
    _refuse_unchecked(checked, ledger)
    offered = [_Offered(row, make_payload(_sent(row, prompt), sink=sink)) for row in _accepted(checked, home)]
    if not offered:
        raise ApprovalRefused(f"Run {run_id} has no accepted row to release. Read its quarantine for the reasons.")
    digest = _release_digest(checked, offered, sink, prompt)
    shown = _draw(digest, [o.payload.delivery_key for o in offered], ledger)
    fields = list(orjson.loads(prompt.schema)["properties"])
    items = tuple(_item(number, offered[position].row, fields) for number, position in enumerate(shown, 1))
    release = Release(f"{run_id}-{digest[:8]}", run_id, digest, sink, len(offered), 0, items)
    rows = _release_rows(offered, {position: number for number, position in enumerate(shown, 1)})
    bodies = [make_body(o.payload.body) for o in offered]
    evidence = digest_bytes(canonical_json([vars(i) for i in items]))
    ledger.write(
        lambda connection: record_release(
            connection, release, rows, bodies, prompt_hash=prompt.prompt_hash, model=prompt.model,
            checks_hash=prompt.checks_hash, evidence_digest=evidence, now=now,
        )
    )  # fmt: skip
    with ledger.reading() as connection:
        return find_release(connection, run_id, sink) or release


def _refuse_unchecked(checked: list[CheckedBatch], ledger: Ledger) -> None:
    with ledger.reading() as connection:
        unknown = [batch.n for batch in checked if not is_recorded(connection, batch)]
    if unknown:
        raise ApprovalRefused(
            f"Batch {unknown[0]} was not made by the check step. Pass on what check_batches returned."
        )


def _accepted(checked: list[CheckedBatch], home: Path) -> Iterable[dict[str, Any]]:
    for batch in checked:
        yield from (row for row in read_part(batch.part, home).to_pylist() if row["state"] == RowState.ACCEPTED)


def _sent(row: dict[str, Any], prompt: Prompt) -> dict[str, Any]:
    return {
        "row_id": row["row_id"],
        "output": orjson.loads(row["output"]),
        "request_key": row["request_key"],
        "prompt_hash": prompt.prompt_hash,
        "model": row["model"] or prompt.model,
    }


def _release_digest(checked: list[CheckedBatch], offered: list[_Offered], sink: str, prompt: Prompt) -> str:
    """Over the sink, what made the answers, how they were checked, and each row's exact bytes, in order."""
    results = [part for b in checked for part in (b.part.digest, b.checks_hash, *b.batch_failures, *b.warnings)]
    rows = [part for o in offered for part in (o.row["request_key"], o.payload.delivery_key, o.payload.digest)]
    return digest_parts("release", [sink, prompt.prompt_hash, prompt.model, *results, *rows])


def _draw(digest: str, keys: list[str], ledger: Ledger) -> list[int]:
    """
    The positions that are shown: first those that somebody called wrong or unsure before.

    The others are drawn by the release's own digest, so that nobody picks them.
    """
    with ledger.reading() as connection:
        doubted = find_doubted(connection)
    first = [position for position, key in enumerate(keys) if key in doubted][:N_SHOWN]
    others = sorted(set(range(len(keys))) - set(first))
    drawn = random.Random(digest).sample(others, min(len(others), N_SHOWN - len(first)))  # noqa: S311 - a draw, not a secret
    return sorted(first + drawn)


def _item(number: int, row: dict[str, Any], fields: list[str]) -> ReviewItem:
    """What is read, the output in the order of its schema."""
    output = orjson.loads(row["output"])
    ordered = {name: output[name] for name in fields if name in output}
    return ReviewItem(number, row["row_id"], orjson.loads(row["input"]), ordered)


def _release_rows(offered: list[_Offered], numbers: dict[int, int]) -> list[ReleaseRow]:
    return [
        ReleaseRow(
            position=position,
            row_id=o.payload.row_id,
            request_key=o.row["request_key"],
            payload=o.payload.digest,
            delivery_key=o.payload.delivery_key,
            item=numbers.get(position),
        )
        for position, o in enumerate(offered)
    ]
