"""Offering a release: the bytes that would leave are made once, and their digest is fixed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from overnight.failures import ApprovalRefused
from overnight.keys import digest_parts, release_digest
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval, find_held_positions
from overnight.ledger.bodies import make_body
from overnight.ledger.releases import ReleaseRow, find_doubted, find_release, find_release_rows, record_release
from overnight.ledger.runs import is_recorded
from overnight.parts import read_part
from overnight.payloads import make_payload
from overnight.records import CheckedBatch, Payload, Prompt, Release, ReviewItem, RowState, SinkFacts

#: Rows that a review shows, at most: as many as a form bears.
N_SHOWN = 25
_WHERE = "Its report and `overnight why ROW` have the reasons."


@dataclass(frozen=True)
class _Offered:
    row: dict[str, Any]
    payload: Payload


def offer_release(
    checked: list[CheckedBatch],
    *,
    run_id: str,
    sink: SinkFacts,
    prompt: Prompt,
    ledger: Ledger,
    home: Path,
    now: float,
    held_of: Release | None = None,
) -> Release:
    """
    Record the accepted rows of a run as a release for one sink; the same rows are the same release.

    Args:
        checked: What the check step made.
        run_id: Whose rows they are.
        sink: Where they would go.
        prompt: Which they answer.
        ledger: Where the release is recorded.
        home: Where the parts are.
        now: Seconds since the epoch.
        held_of: Offer only the rows that this release's review held back.

    Raises:
        ApprovalRefused: A batch was not made by the check step, or there is no row to offer.
    """
    _refuse_unchecked(checked, ledger)
    offered = [_Offered(row, make_payload(_sent(row, prompt), sink=sink.name)) for row in _accepted(checked, home)]
    if held_of:
        keys = _find_held_keys(held_of, ledger)
        offered = [o for o in offered if o.payload.delivery_key in keys]
    if not offered:
        raise ApprovalRefused(f"Run {run_id} has no {'held' if held_of else 'accepted'} row to release. {_WHERE}")
    of, results = held_of.release_id if held_of else None, _digest_results(checked)
    digest = _digest(offered, sink, prompt, results, of)
    shown = _draw(digest, [o.payload.delivery_key for o in offered], ledger)
    release = Release(
        release_id=f"{run_id}-{digest[:8]}",
        run_id=run_id,
        digest=digest,
        sink=sink.name,
        operation=sink.operation,
        effect=sink.effect,
        n_rows=len(offered),
        round=0,
        items=_make_items(offered, shown, prompt),
    )
    rows = _release_rows(offered, {position: number for number, position in enumerate(shown, 1)})
    bodies = [make_body(o.payload.body) for o in offered]
    ledger.write(
        lambda connection: record_release(
            connection, release, rows, bodies, prompt_hash=prompt.prompt_hash, model=prompt.model,
            checks_hash=prompt.checks_hash, checks_digest=results, held_of=of, now=now,
        )
    )  # fmt: skip
    with ledger.reading() as connection:
        return find_release(connection, run_id, sink.name) or release


def _find_held_keys(release: Release, ledger: Ledger) -> set[str]:
    """Of the rows that its last approval holds back; where nothing was let out, of all."""
    with ledger.reading() as connection:
        rows = find_release_rows(connection, release.release_id)
        approval = find_approval(connection, release_id=release.release_id)
        held = find_held_positions(connection, approval.approval_id) if approval else {r.position for r in rows}
    return {r.delivery_key for r in rows if r.position in held}


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


def _digest_results(checked: list[CheckedBatch]) -> str:
    """Over what the checks made of the batches."""
    results = [part for b in checked for part in (b.part.digest, b.checks_hash, *b.batch_failures, *b.warnings)]
    return digest_parts("checks results", results)


def _digest(offered: list[_Offered], sink: SinkFacts, prompt: Prompt, results: str, held_of: str | None) -> str:
    return release_digest(
        sink=sink.name,
        prompt_hash=prompt.prompt_hash,
        model=prompt.model,
        checks_digest=results,
        held_of=held_of or "",
        rows=((o.row["request_key"], o.payload.delivery_key, o.payload.digest) for o in offered),
    )


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


def _make_items(offered: list[_Offered], shown: list[int], prompt: Prompt) -> tuple[ReviewItem, ...]:
    fields = list(orjson.loads(prompt.schema)["properties"])
    return tuple(_make_item(number, offered[position].row, fields) for number, position in enumerate(shown, 1))


def _make_item(number: int, row: dict[str, Any], fields: list[str]) -> ReviewItem:
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
