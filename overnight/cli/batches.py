"""`overnight batches`: what providers have, looked at now, and settled where nobody can tell by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from overnight.cli.batch_list import Listing, as_object, describe_list, describe_rest, list_hints, list_shown
from overnight.cli.show import find_login, get_ledger, print_json
from overnight.complete import Followed, follow_batches
from overnight.complete.provider.settling import get_doubtful, settle_not_sent, settle_sent
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.provider_batch_progress import find_set_aside_usd
from overnight.ledger.provider_batches import get_provider_batch
from overnight.ledger.queries import get_run
from overnight.records import ProviderBatch
from overnight.report.batches import count_batches, count_requests
from overnight.settings import Settings


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


def show_or_settle(
    run_id: str | None, *, follows: bool, shows_all: bool, limit: int, settlement: Settlement, as_json: bool
) -> int:
    """Settle what a person found out, look at the providers, and show what they have; the exit code."""
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    if run_id is not None:
        with ledger.reading() as connection:
            get_run(connection, run_id)
    settled = settle(settlement, ledger, settings)
    followed = follow_batches(ledger, settings, run_id=run_id) if follows else None
    # One that was settled is told of in a line of its own.
    shows_list = follows or not settled
    with ledger.reading() as connection:
        listing = list_shown(connection, run_id, shows_all=shows_all, limit=limit)
        found = [get_provider_batch(connection, batch_id) for batch_id in settled]
    if as_json:
        print_json(_as_json(found, listing if shows_list else None))
    elif shows_list:
        _tell(listing, followed)
    for line in describe_rest(listing) if shows_list else ():
        click.echo(line, err=as_json)
    for fault in followed.faults if followed else ():
        click.echo(f"overnight: {fault}", err=True)
    for line in list_hints(ledger, settings, run_id) if followed else ():
        click.echo(line, err=as_json)
    return 1 if followed and followed.faults else 0


def settle(settlement: Settlement, ledger: Ledger, settings: Settings) -> list[str]:
    """Record who says what of which batch; nothing is asked of a model. Which batches."""
    by, settled = settlement.by or find_login(), []
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
        settled.append(batch_id)
    for batch_id in settlement.not_sent:
        _release(get_doubtful(ledger, batch_id), by, ledger, is_sure=settlement.is_sure)
        settled.append(batch_id)
    return settled


def _release(batch: ProviderBatch, by: str, ledger: Ledger, *, is_sure: bool) -> None:
    with ledger.reading() as connection:
        usd = find_set_aside_usd(connection, batch.batch_id)
    click.echo(
        f"{count_requests(batch.n_items)} of run {batch.run_id} will be asked again. Where {batch.model} has the batch"
        f" after all, they are paid for twice: up to {usd:.4f} USD more. Look at the provider's own list first.",
        err=True,
    )
    if not is_sure:
        click.confirm("It is not there: ask them again?", abort=True, err=True)
    n_freed = settle_not_sent(batch, by=by, ledger=ledger)
    are = "is" if n_freed == 1 else "are"
    click.echo(
        f"Recorded: {count_requests(n_freed)} {are} free. `overnight continue {batch.run_id}` asks them anew.", err=True
    )


def _as_json(settled: Sequence[ProviderBatch], listing: Listing | None) -> Any:
    """The list of what is shown; where something was settled, one object that has both."""
    listed = [as_object(batch) for batch in listing.batches] if listing else None
    if not settled:
        return listed
    told: dict[str, Any] = {"settled": [as_object(batch) for batch in settled]}
    return told if listed is None else told | {"batches": listed}


def _tell(listing: Listing, followed: Followed | None) -> None:
    if followed:
        ended, n_new = count_batches(followed.n_ended), len(followed.in_doubt)
        doubt = f"{listing.n_in_doubt:,} in doubt{f' ({n_new:,} of them from now on)' if n_new else ''}"
        click.echo(f"Looked at the providers: {ended} ended, {followed.n_open:,} open, {doubt}.")
    for line in describe_list(listing):
        click.echo(line)
