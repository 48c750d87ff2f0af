"""`overnight reviewers`: who may review, how each of them reads, and the codes that they show."""

from __future__ import annotations

import contextlib
import io
import re
import secrets
import sys
import time
import unicodedata
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path

import click
import pyotp
import segno
import sqlalchemy as sa

from overnight.approve.identify import Identity, identify
from overnight.cli.show import find_login, get_ledger, print_json
from overnight.failures import OvernightError, ReviewRefused
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.approvals import has_signed
from overnight.ledger.reviewers import (
    Reviewer,
    ReviewerRecord,
    find_record,
    find_reviewer,
    has_ever,
    has_reviewers,
    list_reviewers,
    record_reviewer,
    remove_reviewer,
)
from overnight.report.reviews import say_count
from overnight.settings import Settings
from overnight.signature import derive_secret

_ISSUER = "overnight"
#: Letters of any language, digits, dots, dashes, underscores, and spaces inside; it begins with a letter or a digit.
_NAME = re.compile(r"[^\W_](?:[\w.\- ]{0,58}[\w.\-])?")


def show_reviewers(*, as_json: bool) -> None:
    """Print who may review, and how each has read."""
    with get_ledger(Settings.from_env()).reading() as connection:
        found = [(reviewer, find_record(connection, reviewer.name)) for reviewer in list_reviewers(connection)]
        was_ever = has_ever(connection)
    if as_json:
        shown = ("name", "enrolled_at", "enrolled_by")
        print_json([{name: getattr(one, name) for name in shown} | asdict(record) for one, record in found])
        return
    for one, record in found:
        click.echo(f"{one.name}  enrolled {_show_time(one.enrolled_at)} by {one.enrolled_by}")
        click.echo(f"    {_describe(record)}")
    if not found:
        click.echo(f"{_describe_nobody(was_ever=was_ever)} `overnight reviewers add NAME` enrols.")


def add_reviewer(name: str, *, by: str | None, again: bool) -> None:
    """Enrol somebody, show the secret once, and in a terminal see that the app makes codes of it."""
    settings = Settings.from_env()
    ledger, name = open_ledger(settings.ledger_url), _read_name(name)
    enrolled, secret = ledger.write(
        partial(
            _enrol, name=name, nonce=secrets.token_hex(16), by=by or find_login(), again=again,
            key_file=settings.approval_key, now=time.time(),
        )
    )  # fmt: skip
    _show_secret(enrolled.name, secret)
    if sys.stdin.isatty():
        _try_codes(enrolled.name, ledger, settings.approval_key)
    click.echo(
        f"{enrolled.name} is enrolled. From now on every decision on a review needs the name of somebody who is, and"
        " the code that their app shows."
    )


def drop_reviewer(name: str) -> None:
    """Take somebody off the list: their codes are refused from now on."""
    ledger = get_ledger(Settings.from_env())

    def job(connection: sa.Connection) -> bool:
        if not remove_reviewer(connection, name, time.time()):
            raise OvernightError(f"{name!r} is not enrolled as a reviewer. `overnight reviewers` lists who is.")
        return has_reviewers(connection)

    are_left = ledger.write(job)
    click.echo(f"{name} is no reviewer any more. What they decided stays.")
    if not are_left:
        click.echo(f"{_describe_nobody(was_ever=True)} `overnight reviewers add NAME` enrols.")


def make_uri(name: str, secret: str) -> str:
    """What an authenticator app reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER)


def _describe_nobody(*, was_ever: bool) -> str:
    """Who decides where nobody is enrolled: once somebody was, a name alone is not taken any more."""
    if was_ever:
        return "Nobody is enrolled now: until somebody is enrolled nobody can decide."
    return "Nobody is enrolled: where no code is demanded, reviewers are who they say they are."


def _read_name(given: str) -> str:
    name = " ".join(unicodedata.normalize("NFKC", given).split())
    if not _NAME.fullmatch(name):
        raise OvernightError(
            f"{given!r} cannot be a reviewer's name. Give 1 to 60 letters, digits, dots, dashes, underscores, or spaces"
            " inside; the first is a letter or a digit."
        )
    return name


def _enrol(
    connection: sa.Connection, *, name: str, nonce: str, by: str, again: bool, key_file: Path, now: float
) -> tuple[Reviewer, str]:
    known = find_reviewer(connection, name)
    if known and not again:
        raise OvernightError(
            f"{known.name} is enrolled already, by {known.enrolled_by} since {_show_time(known.enrolled_at)}. Where the"
            " phone is lost, add --again: the old secret then stops working."
        )
    is_first = not (has_signed(connection) or has_ever(connection))
    enrolled = record_reviewer(connection, name, nonce, by, now)
    return enrolled, derive_secret(enrolled.name, enrolled.nonce, key_file, is_first=is_first)


def _show_secret(name: str, secret: str) -> None:
    click.echo(f"Scan this with an authenticator app on the phone of {name}:")
    drawing = io.StringIO()
    segno.make(make_uri(name, secret)).terminal(out=drawing, compact=True)
    # A terminal without these characters has the secret below.
    with contextlib.suppress(UnicodeEncodeError):
        for line in drawing.getvalue().splitlines():
            # Dark on light is what apps read, whatever colours the terminal has.
            click.secho(line, fg="bright_white", bg="black")
    groups = " ".join(secret[i : i + 4] for i in range(0, len(secret), 4))
    click.echo(f"Or type it in (time-based, 6 digits): {groups}")
    click.echo("It is shown this once. Clear the screen when the app has it.")


def _try_codes(name: str, ledger: Ledger, key_file: Path) -> None:
    """Ask until a code is right; who sees the secret guesses nothing, so a wrong one is not counted."""
    try:
        while refusal := _try_code(click.prompt("The code that the app shows now"), name, ledger, key_file):
            click.echo(refusal)
    except click.Abort:
        raise OvernightError(
            f"{name} is enrolled, but no code was right yet. Where the app has no secret, show a new one: `overnight"
            f' reviewers add "{name}" --again`.'
        ) from None


def _try_code(code: str, name: str, ledger: Ledger, key_file: Path) -> str | None:
    """Why it is refused."""
    now = time.time()

    def job(connection: sa.Connection) -> Identity:
        return identify(connection, name, code, at=now, now=now, is_demanded=True, starter=None, key_file=key_file)

    try:
        ledger.write(job)
    except ReviewRefused as refusal:
        return str(refusal)
    return None


def _describe(record: ReviewerRecord) -> str:
    n_seeds, n_compared = say_count(record.n_seeds, "seed"), say_count(record.n_compared, "row")
    seeds = f"caught {record.n_caught:,} of {n_seeds}" if record.n_seeds else "shown no seeds yet"
    pace = "" if record.seconds_a_row is None else f", {record.seconds_a_row:.1f} s a row"
    agreed = (
        f"agrees with others on {record.n_agreed:,} of {n_compared}"
        if record.n_compared
        else "no row read by another too"
    )
    n_decisions, n_rows = say_count(record.n_decisions, "decision"), say_count(record.n_rows, "row")
    return f"{seeds}; {n_decisions}, {n_rows} read{pace}; {agreed}"


def _show_time(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"
