"""`overnight outbox`, `hold` and `recall`: what was promised, and what a person can do about it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import click

from overnight.cli.show import find_login, get_ledger, print_json
from overnight.deliver import name_sink, recall_release, settle_unknown
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
from overnight.ledger.promises import find_receipts, list_outbox
from overnight.ledger.releases import get_release
from overnight.ledger.sinks import ALL, hold_sink, lift_hold, list_holds
from overnight.records import Receipt
from overnight.report.text import show_value
from overnight.settings import Settings

#: States that somebody may have to do something about.
_SHOWN = ("unknown", "failed", "promised", "sending")
#: Rows of a release that the terminal lists.
_N_ROWS = 20


def settle_or_show(
    release: str | None,
    *,
    arrived: tuple[str, ...],
    resend: tuple[str, ...],
    reason: str,
    limit: int,
    by: str | None,
    as_json: bool,
) -> None:
    """Record what was found out about rows of unknown fate, or show what there is."""
    if not arrived and not resend:
        show_outbox(release, limit, as_json=as_json)
        return
    if release is None:
        raise OvernightError("Say of which release the rows are: overnight outbox RELEASE --arrived ROW.")
    for rows, did_arrive in ((arrived, True), (resend, False)):
        if rows:
            settle(release, rows, arrived=did_arrive, by=by or find_login(), reason=reason)


def show_outbox(release_id: str | None, limit: int, *, as_json: bool) -> None:
    """Print the newest deliveries, or what became of each row of one release."""
    ledger = get_ledger(Settings.from_env())
    if release_id:
        receipts = _read_receipts(release_id, ledger)
        if as_json:
            print_json([vars(r) for r in receipts])
        else:
            _tell_receipts(release_id, receipts)
        return
    with ledger.reading() as connection:
        found, holds = list_outbox(connection, limit), list_holds(connection)
    if as_json:
        print_json({"releases": found, "holds": holds})
        return
    for hold in holds:
        click.echo(
            f"On hold: {hold['sink']}, by {hold['held_by']} since {_show_time(hold['held_at'])}: {hold['held_for']}"
        )
    for one in found:
        counts = ", ".join(f"{n:,} {state}" for state, n in sorted(one["rows"].items()))
        click.echo(f"{one['release_id']}  {_show_time(one['consumed_at'])}  {one['sink']}: {counts}")
    if not found:
        click.echo("Nothing has left yet.")


def settle(release_id: str, rows: tuple[str, ...], *, arrived: bool, by: str, reason: str) -> None:
    """Record what a person found out about rows of unknown fate."""
    ledger = get_ledger(Settings.from_env())
    settle_unknown(release_id, rows, arrived=arrived, by=by, reason=reason, ledger=ledger)
    with ledger.reading() as connection:
        run_id = get_release(connection, release_id).run_id
    click.echo(
        f"Recorded: {len(rows)} rows {'arrived' if arrived else 'will be sent again'}."
        f" `overnight review {run_id}` continues the run."
    )


def hold(sink: str | None, *, lift: bool, by: str | None, reason: str, as_json: bool) -> None:
    """Stop all writing to a sink, let it go on, or list what is on hold."""
    settings = Settings.from_env()
    ledger, now = get_ledger(settings), time.time()
    if sink is None:
        _show_holds(ledger, as_json=as_json)
        return
    name, by = sink if sink == ALL else name_sink(sink, settings), by or find_login()
    if lift:
        if not ledger.write(lambda connection: lift_hold(connection, name, by=by, reason=reason, now=now)):
            raise OvernightError(f"Sink {name!r} is not on hold. `overnight hold` lists what is.")
        click.echo(f"{name} may be written to again. `overnight review RUN` continues a run that was stopped.")
        return
    ledger.write(lambda connection: hold_sink(connection, name, by=by, reason=reason, now=now))
    click.echo(f"{name} is on hold: what a process has in hand at this moment is the last that leaves.")


def recall(release_id: str, *, by: str | None, reason: str, as_json: bool) -> int:
    """Undo a release; 0 where all of it is undone."""
    settings = Settings.from_env()
    receipts = recall_release(
        release_id, by=by or find_login(), reason=reason, ledger=get_ledger(settings), settings=settings
    )
    left = [r for r in receipts if r.state not in {"recalled", "failed"}]
    n_recalled = sum(r.state == "recalled" for r in receipts)
    if as_json:
        print_json([vars(r) for r in receipts])
    else:
        click.echo(f"Recalled {n_recalled:,} of {len(receipts):,} rows of release {release_id}.")
    for receipt in left[:_N_ROWS]:
        click.echo(f"overnight: {show_value(receipt.row_id)} is still there: {receipt.detail}", err=True)
    return 1 if left else 0


def _show_holds(ledger: Ledger, *, as_json: bool) -> None:
    with ledger.reading() as connection:
        holds = list_holds(connection)
    if as_json:
        print_json(holds)
        return
    for one in holds:
        click.echo(f"{one['sink']}: by {one['held_by']} since {_show_time(one['held_at'])}: {one['held_for']}")
    if not holds:
        click.echo("Nothing is on hold.")


def _read_receipts(release_id: str, ledger: Ledger) -> list[Receipt]:
    with ledger.reading() as connection:
        get_release(connection, release_id)
        approval = find_approval(connection, release_id=release_id)
        return find_receipts(connection, approval.approval_id) if approval else []


def _tell_receipts(release_id: str, receipts: list[Receipt]) -> None:
    states = [r.state for r in receipts]
    counts = ", ".join(f"{states.count(state):,} {state}" for state in sorted(set(states)))
    click.echo(f"{release_id}: {counts or 'nothing of it was let out'}")
    open_ = [r for r in receipts if r.state in _SHOWN]
    for r in open_[:_N_ROWS]:
        click.echo(f"  {r.state:9} {show_value(r.row_id)}  {r.detail}")
    if len(open_) > _N_ROWS:
        click.echo(f"  and {len(open_) - _N_ROWS:,} more: --json has all")
    if "unknown" in states:
        click.echo(
            f"Look there which of the unknown rows arrived, then: overnight outbox {release_id} --arrived ROW, or"
            " --resend ROW."
        )


def _show_time(at: Any) -> str:
    return f"{datetime.fromtimestamp(float(at)).astimezone():%Y-%m-%d %H:%M}"
