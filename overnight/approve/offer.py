"""Offering a release: the bytes that would leave are made once, and their digest is fixed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.approve.continued import refuse_kin, refuse_lost
from overnight.approve.draw import open_round
from overnight.approve.held import find_held_keys
from overnight.failures import ApprovalRefused, RunHalted
from overnight.keys import digest_parts, release_digest
from overnight.ledger import Ledger
from overnight.ledger.bodies import count_lost_payloads, make_body, record_bodies
from overnight.ledger.manifests import is_recorded
from overnight.ledger.releases import ReleaseRow, find_release, is_release, record_release
from overnight.ledger.shadows import find_shadow_asking
from overnight.parts import read_part
from overnight.payloads import make_payload
from overnight.place import PartsPlace
from overnight.records import CheckedBatch, Payload, Prompt, Release, ReviewPolicy, RowState, SinkFacts

#: How often a purge may drop payloads before the release names them: each time it must have begun anew.
_N_TRIES = 5
_WHERE = "Its report and `overnight why ROW` have the reasons."


def offer_release(
    checked: list[CheckedBatch],
    *,
    run_id: str,
    sink: SinkFacts,
    prompt: Prompt,
    ledger: Ledger,
    place: PartsPlace,
    policy: ReviewPolicy,
    now: float,
    held_of: Release | None = None,
    continues: str | None = None,
    rng: random.Random | None = None,
) -> Release:
    """
    Record the accepted rows of a run as a release for one sink; the same rows are the same release.

    Args:
        checked: What the check step made.
        run_id: Whose rows they are.
        sink: Where they would go.
        prompt: Which they answer.
        ledger: Where the release is recorded.
        place: Where the parts are.
        policy: How much of it has to be read, with all of its values.
        now: Seconds since the epoch.
        held_of: Offer only the rows that this release's review held back.
        continues: The release whose rows these join at a sink that holds one release, where a retry is in it.
        rng: Who draws what is shown; by default what nobody can foresee.

    Raises:
        ApprovalRefused: A batch was not made by the check step, there is no row to offer, or another run of the
            family has offered one of them, or has to deliver there first.
        RunHalted: One purge after another dropped the rows' bytes.
    """
    _refuse_unchecked(checked, ledger)
    _refuse_shadow(checked, run_id, ledger)
    only = find_held_keys(held_of, ledger) if held_of else None

    def keep() -> list[ReleaseRow]:
        return _keep_rows(checked, prompt, sink, only=only, ledger=ledger, place=place)

    rows = keep()
    if not rows:
        raise ApprovalRefused(f"Run {run_id} has no {'held' if held_of else 'accepted'} row to release. {_WHERE}")
    of, results = held_of.release_id if held_of else continues, _digest_results(checked)
    digest = _digest(rows, sink, prompt, results, of)
    release = Release(
        release_id=f"{run_id}-{digest[:8]}",
        run_id=run_id,
        digest=digest,
        sink=sink.name,
        operation=sink.operation,
        effect=sink.effect,
        n_rows=len(rows),
        round=0,
        items=(),
        n_seeds=0,
        policy=policy,
    )

    def record(connection: sa.Connection) -> None:
        if not is_release(connection, release.release_id):
            refuse_kin(connection, release, [row.row_id for row in rows], prompt=prompt.name, held_of=of)
            refuse_lost(connection, run_id, [row.row_id for row in rows])
        record_release(
            connection, release, rows, prompt_hash=prompt.prompt_hash, model=prompt.model,
            checks_hash=prompt.checks_hash, checks_digest=results, held_of=of, now=now,
        )  # fmt: skip
        # Now a purge sees the release, or this has waited for its end.
        if count_lost_payloads(connection, release.release_id):
            raise _PayloadsLost

    _record_whole(record, keep, run_id, ledger)
    with ledger.reading() as connection:
        recorded = find_release(connection, run_id, sink.name) or release
    return open_round(recorded, ledger=ledger, place=place, now=now, rng=rng)


class _PayloadsLost(Exception):
    """A purge dropped bytes that no release named yet."""


def _record_whole(
    record: Callable[[sa.Connection], None], keep: Callable[[], object], run_id: str, ledger: Ledger
) -> None:
    """Record the release together with all of its bytes: those that a purge dropped beforehand are kept anew."""
    for _ in range(_N_TRIES):
        try:
            return ledger.write(record)
        except _PayloadsLost:
            keep()
    raise RunHalted(
        f"The release of run {run_id} is not recorded: {_N_TRIES} times a purge dropped its payloads meanwhile. Run the"
        " flow again once the purge is over; nothing is paid for again."
    )


def _refuse_unchecked(checked: list[CheckedBatch], ledger: Ledger) -> None:
    with ledger.reading() as connection:
        unknown = [batch.n for batch in checked if not is_recorded(connection, batch)]
    if unknown:
        raise ApprovalRefused(
            f"Batch {unknown[0]} was not made by the check step. Pass on what check_batches returned."
        )


def _refuse_shadow(checked: list[CheckedBatch], run_id: str, ledger: Ledger) -> None:
    """Whoever had a shadow's rows checked: a shadow is there to be compared."""
    with ledger.reading() as connection:
        found = [(b.n, find_shadow_asking(connection, run_id, b.prompt_hash)) for b in checked]
    for n, shadow in found:
        if shadow:
            raise ApprovalRefused(
                f"Batch {n} is of the shadow run {shadow}, which is compared and never offered. To offer what its"
                " prompt says, run the flow with that prompt: what was answered is a hit."
            )


def _keep_rows(
    checked: list[CheckedBatch],
    prompt: Prompt,
    sink: SinkFacts,
    *,
    only: set[str] | None,
    ledger: Ledger,
    place: PartsPlace,
) -> list[ReleaseRow]:
    """The rows of the release, in order; their bytes are made and kept a batch at a time, and not held in memory."""
    rows: list[ReleaseRow] = []
    for batch in checked:
        found = [row for row in read_part(batch.part, place).to_pylist() if row["state"] == RowState.ACCEPTED]
        made = [(row, make_payload(_sent(row, prompt), sink=sink.name)) for row in found]
        offered = [(row, payload) for row, payload in made if only is None or payload.delivery_key in only]
        bodies = [make_body(payload.body) for _, payload in offered]
        ledger.write(lambda connection, bodies=bodies: record_bodies(connection, bodies))  # type: ignore[misc]
        rows += [_make_row(at, row, payload) for at, (row, payload) in enumerate(offered, len(rows))]
    return rows


def _make_row(position: int, row: dict[str, Any], payload: Payload) -> ReleaseRow:
    return ReleaseRow(
        position=position,
        row_id=payload.row_id,
        request_key=row["request_key"],
        payload=payload.digest,
        delivery_key=payload.delivery_key,
        # What a check warned of: it keeps no row back.
        warning=row["reason"],
    )


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


def _digest(rows: list[ReleaseRow], sink: SinkFacts, prompt: Prompt, results: str, held_of: str | None) -> str:
    return release_digest(
        sink=sink.name,
        prompt_hash=prompt.prompt_hash,
        model=prompt.model,
        checks_digest=results,
        held_of=held_of or "",
        rows=((r.request_key, r.delivery_key, r.payload) for r in rows),
    )
