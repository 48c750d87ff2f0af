"""`overnight batches`: what providers have, looked at now, and settled where nobody can tell by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click

from overnight.cli.show import find_login, get_ledger, print_json
from overnight.complete import Followed, follow_batches
from overnight.complete.provider.settling import get_doubtful, settle_not_sent, settle_sent
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.provider_batch_progress import OPEN_STATES, find_progress, find_set_aside_usd
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.queries import get_run, list_runs
from overnight.records import BatchState, ProviderBatch, RunState
from overnight.report.batches import count_batches, describe_age
from overnight.settings import Settings

#: Runs that are looked through for those that can go on.
_N_RUNS = 200


@dataclass(frozen=True)
class Settlement:
    """What a person found out about batches in doubt."""

    #: BATCH=PROVIDER_ID: the provider has it.
    sent: Sequence[str]
    #: BATCH: it does not.
    not_sent: Sequence[str]
    by: str | None
    #: Whether it was asked for already that something may cost twice.
    is_sure: bool


def show_or_settle(run_id: str | None, *, follows: bool, limit: int, settlement: Settlement, as_json: bool) -> None:
    """Settle what a person found out, look at the providers, and show what they have."""
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    if run_id is not None:
        with ledger.reading() as connection:
            get_run(connection, run_id)
    settle(settlement, ledger, settings)
    followed = follow_batches(ledger, settings, run_id=run_id) if follows else None
    # One that was settled is told of in a line of its own.
    if followed is None and (settlement.sent or settlement.not_sent):
        return
    with ledger.reading() as connection:
        found = list_batches(connection, run_id=run_id, limit=limit)
    if as_json:
        print_json([_as_object(batch, time.time()) for batch in found])
    else:
        _tell(found, followed)
    for fault in followed.faults if followed else ():
        click.echo(f"overnight: {fault}", err=True)
    for line in _list_hints(ledger, run_id) if followed else ():
        click.echo(line, err=as_json)


def settle(settlement: Settlement, ledger: Ledger, settings: Settings) -> None:
    """Record who says what of which batch; nothing is asked of a model."""
    by = settlement.by or find_login()
    for given in settlement.sent:
        batch_id, _, provider_id = given.partition("=")
        if not batch_id or not provider_id:
            raise OvernightError(f"--sent {given} does not say which it is. Give it as BATCH=PROVIDER_ID.")
        batch = get_doubtful(ledger, batch_id)
        look = settle_sent(batch, provider_id, by=by, ledger=ledger, settings=settings)
        click.echo(
            f"Recorded: the provider has {batch_id} as {provider_id} ({look.status}). `overnight batches --follow`"
            " fetches what it has answered.",
            err=True,
        )
    for batch_id in settlement.not_sent:
        _release(get_doubtful(ledger, batch_id), by, ledger, is_sure=settlement.is_sure)


def _release(batch: ProviderBatch, by: str, ledger: Ledger, *, is_sure: bool) -> None:
    with ledger.reading() as connection:
        usd = find_set_aside_usd(connection, batch.batch_id)
    requests = f"{batch.n_items:,} request{'' if batch.n_items == 1 else 's'}"
    click.echo(
        f"{requests} of run {batch.run_id} will be asked again. Where {batch.model} has the batch after all, they are"
        f" paid for twice: up to {usd:.4f} USD more. Look at the provider's own list first.",
        err=True,
    )
    if not is_sure:
        click.confirm("It is not there: ask them again?", abort=True, err=True)
    n_freed = settle_not_sent(batch, by=by, ledger=ledger)
    click.echo(
        f"Recorded: {n_freed:,} requests are free. `overnight continue {batch.run_id}` asks them anew.", err=True
    )


def _tell(found: Sequence[ProviderBatch], followed: Followed | None) -> None:
    now = time.time()
    if followed:
        ended = f"{count_batches(followed.n_ended)} ended"
        click.echo(f"Looked at the providers: {ended}, {followed.n_open:,} open, {len(followed.in_doubt):,} in doubt.")
    for batch in found:
        click.echo(_line(batch, now))
        if batch.reason:
            click.echo(f"    {batch.reason}")
        if batch.state is BatchState.IN_DOUBT:
            click.echo(
                f"    Look at the provider's own list of batches, then: `overnight batches --sent {batch.batch_id}=ID`,"
                f" or `overnight batches --not-sent {batch.batch_id}`."
            )
    if not found:
        click.echo("There are no provider batches. `overnight run FLOW --mode batch` makes some.")


def _line(batch: ProviderBatch, now: float) -> str:
    state = "IN DOUBT" if batch.state is BatchState.IN_DOUBT else str(batch.state)
    status = f" ({batch.status})" if batch.status and batch.state is BatchState.SUBMITTED else ""
    expires = ""
    if batch.expires_at and batch.state in OPEN_STATES:
        expires = f", expires {datetime.fromtimestamp(batch.expires_at).astimezone():%Y-%m-%d %H:%M}"
    return (
        f"{batch.batch_id}  {state:10}{status} run {batch.run_id}, {batch.model}"
        f" {batch.provider_id or '(no id yet)'}: {_count_done(batch):,} of {batch.n_items:,} done,"
        f" {describe_age(_find_age_s(batch, now))}{expires}"
    )


def _count_done(batch: ProviderBatch) -> int:
    return batch.n_items if batch.state is BatchState.ENDED else batch.n_done


def _find_age_s(batch: ProviderBatch, now: float) -> float:
    """From when it was sent, or begun, until it was over."""
    return (batch.ended_at or now) - (batch.submitted_at or batch.submitting_at or batch.packed_at)


def _as_object(batch: ProviderBatch, now: float) -> dict[str, Any]:
    return asdict(batch) | {"n_done": _count_done(batch), "age_s": _find_age_s(batch, now)}


def _list_hints(ledger: Ledger, run_id: str | None) -> list[str]:
    """Which runs have nothing to wait for any more."""
    with ledger.reading() as connection:
        batched = [run["run_id"] for run in list_runs(connection, _N_RUNS, states=[RunState.BATCHED])]
        waiting = find_progress(connection, batched)
    free = [run for run in batched if run not in waiting and run_id in (None, run)]
    return [f"Run {run} can go on: `overnight continue {run}`." for run in free]
