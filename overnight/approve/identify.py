"""Who reviews: a name with a time-based one-time code (RFC 6238), or where nobody ever was enrolled a name alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyotp
import sqlalchemy as sa
from pyotp.utils import strings_equal

from overnight.failures import ReviewRefused
from overnight.ledger.reviewers import Reviewer, burn_step, find_reviewer, fold_name, has_ever, has_reviewers
from overnight.records import Release
from overnight.signature import derive_secret

#: Wrong codes in a row that lock a name, and for how long from the last one.
_MOST_WRONG = 5
_LOCK_S = 900.0
#: Time steps (30 seconds each) that a phone's clock may be off, either way.
_DRIFT = 1
#: How far back a code is known for one that was right once, so that the refusal can say so.
_REMEMBERED = 10
_N_DIGITS = 6


@dataclass(frozen=True)
class Identity:
    """Who decides, and how that is known."""

    #: As it is enrolled; as it was given, where nobody is.
    name: str
    #: "code" or "declared".
    how: str


def demands_code(connection: sa.Connection, release: Release) -> bool:
    """Whether the reviewers of a release show a code: where a name is not enough, or somebody was ever enrolled."""
    is_grave = release.effect != "reversible" or (release.policy.n_reviewers or 1) > 1
    return is_grave or has_ever(connection)


class CodeRefused(ReviewRefused):
    """The code is wrong, old or used; who catches it counts it by `record_wrong`, in a transaction of its own."""


def identify(
    connection: sa.Connection,
    reviewer: str,
    code: str | None,
    *,
    at: float,
    now: float,
    is_demanded: bool,
    starter: str | None,
    key_file: Path,
) -> Identity:
    """
    See who reviews; a code is used up with it.

    Args:
        connection: In the transaction that records the decision.
        reviewer: The name that was given.
        code: The six digits that were given with it.
        at: When they were handed in; seconds since the epoch, as `now`.
        now: What a lock is measured by.
        is_demanded: A name alone does not do, even where nobody was ever enrolled.
        starter: Who started the run, where that is known.
        key_file: Of the key that signs approvals.

    Raises:
        CodeRefused: The code is wrong, too old, or used already.
        ReviewRefused: There is no code, or the name may not give one here and now.
        ApprovalRefused: There is no key to verify it with.
    """
    if not has_reviewers(connection):
        if is_demanded or has_ever(connection):
            raise ReviewRefused(
                f"The decision of {reviewer!r} needs a code, and nobody is enrolled who could give one. Enrol whoever"
                " reviews: `overnight reviewers add NAME`."
            )
        return Identity(reviewer, "declared")
    found = find_reviewer(connection, reviewer)
    # The same work for a name that nobody has.
    name, nonce = (found.name, found.nonce) if found else (reviewer, "")
    codes = _list_codes(derive_secret(name, nonce, key_file, is_first=False), at)
    if found is None:
        raise ReviewRefused(
            f"{reviewer!r} is not enrolled as a reviewer. `overnight reviewers` lists who is; `overnight reviewers add"
            " NAME` enrols somebody."
        )
    digits = _read_digits(code, name)
    _refuse_locked(found, now)
    if starter is not None and fold_name(starter) == fold_name(name):
        raise ReviewRefused(f"{name} started this run, and nobody reviews a run of their own. Ask another reviewer.")
    if not burn_step(connection, name, _pick_step(found, digits, codes)):
        raise _describe_used(name)
    return Identity(name, "code")


def _list_codes(secret: str, at: float) -> dict[int, str]:
    """By time step: what the app showed for a while before that moment, and what it shows if its clock is fast."""
    totp = pyotp.TOTP(secret)
    current = int(at) // totp.interval
    steps = range(max(current - _REMEMBERED, 0), current + _DRIFT + 1)
    return {step: totp.at(step * totp.interval) for step in steps}


def _read_digits(code: str | None, name: str) -> str:
    digits = "".join((code or "").split())
    if not digits:
        raise ReviewRefused(
            f"The decision of {name} has no code. Give the {_N_DIGITS} digits that your authenticator app shows for"
            " overnight."
        )
    if len(digits) != _N_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise ReviewRefused(
            f"What {name} gave as a code is not {_N_DIGITS} digits. Give those that your authenticator app shows for"
            " overnight."
        )
    return digits


def _refuse_locked(found: Reviewer, now: float) -> None:
    until = (found.wrong_at or 0.0) + _LOCK_S
    if found.n_wrong >= _MOST_WRONG and now < until:
        raise ReviewRefused(
            f"{found.name} is locked until {datetime.fromtimestamp(until).astimezone():%H:%M:%S}, after"
            f" {found.n_wrong} wrong codes in a row. Wait until then; where those were not yours, say so to whoever"
            " runs overnight."
        )


def _pick_step(found: Reviewer, digits: str, codes: dict[int, str]) -> int:
    """The time step whose code this is, where it can still be taken."""
    matching = [step for step, shown in codes.items() if strings_equal(shown, digits)]
    oldest = max(codes) - 2 * _DRIFT
    fresh = [step for step in matching if step >= oldest and step > found.last_step]
    if fresh:
        return fresh[0]
    if any(step <= found.last_step for step in matching):
        raise _describe_used(found.name)
    if matching:
        raise CodeRefused(
            f"The code of {found.name} is too old. Give the one that your authenticator app shows now; where it is"
            " that one, the phone's clock is slow: let the phone set it."
        )
    raise CodeRefused(
        f"The code of {found.name} is wrong. Give the one that your authenticator app shows for overnight now; where"
        " it is that one, let the phone set its clock."
    )


def _describe_used(name: str) -> CodeRefused:
    return CodeRefused(
        f"That code of {name}, or a later one, was used already: each is taken once. Wait for the next one, half a"
        " minute at most, and give that."
    )
