"""A review as a person sits down to it, on the page or in the terminal, and what is said where it is broken off."""

from __future__ import annotations

import time

import orjson

from overnight.approve import find_standing
from overnight.approve.outlook import Outlook, find_outlook
from overnight.cli.desk import Desk
from overnight.ledger import Ledger
from overnight.ledger.draws import get_veil
from overnight.ledger.releases import find_prompt_of
from overnight.masking import Veil
from overnight.page import Review
from overnight.page.words import describe_elsewhere, describe_kept
from overnight.records import Approval, Release, RunState
from overnight.settings import Settings


def sit_down(release: Release, settings: Settings, ledger: Ledger, *, channel: str, reviewer: str | None) -> Review:
    """
    The review of a release, with the verdicts that are kept of it.

    Args:
        release: With the items of its open round.
        settings: Whose home and key.
        ledger: Where the decision is recorded.
        channel: Where it is read: "page" or "terminal".
        reviewer: Whose name is filled in beforehand.
    """

    def outlook(shown: Release) -> Outlook:
        with ledger.reading() as connection:
            return find_outlook(connection, shown)

    def standing(shown: Release) -> Approval | RunState | None:
        return find_standing(ledger, shown.run_id, shown.sink, now=time.time())

    def veil(shown: Release, number: int) -> Veil:
        with ledger.reading() as connection:
            return get_veil(connection, shown, number)

    with ledger.reading() as connection:
        schema = orjson.loads(find_prompt_of(connection, release.release_id).schema)
    return Review(
        release,
        Desk(settings, ledger),
        find_outlook=outlook,
        find_standing=standing,
        schema=schema,
        home=settings.home,
        channel=channel,
        reviewer=reviewer or "",
        get_veil=veil,
    )


def describe_end(review: Review, ended: str, again: str) -> str:
    """
    What stands where a sitting ends without a decision of its own.

    Args:
        review: That was read.
        ended: What happened.
        again: The command that goes on.
    """
    run_id, go_on = review.release.run_id, f"Go on: `{again}`."
    if standing := review.find_elsewhere():
        return (
            f"Run {run_id} was decided elsewhere ({describe_elsewhere(standing)}); the verdicts of this"
            f" {review.channel} are not counted. `overnight runs` shows where it stands."
        )
    if review.decision:
        return f"{ended} before its next round; the last one is recorded. {go_on}"
    return (
        f"{ended} before the decision: nothing of this round is recorded, nothing leaves."
        f" {describe_kept(review.reading)} {go_on}"
    )
