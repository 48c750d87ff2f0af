"""How far a round has come, in words."""

from __future__ import annotations

from collections.abc import Mapping

from overnight.approve.outlook import Outlook
from overnight.approve.words import show_share
from overnight.page.reading import ReaderRound


def describe_outlook(reading: ReaderRound) -> str:
    """The bound as it stands; it is reckoned from counts, and tells no seed from a row."""
    outlook, n_flagged = reading.outlook, len(reading.list_flagged())
    rows = f"{outlook.n_rows:,} rows"
    if not reading.verdicts and not outlook.n_read:
        return f"Nothing is known of the {rows} yet."
    share = show_share(outlook.bound(len(reading.verdicts), n_flagged) / outlook.n_rows)
    seeds = {0: "", 1: " beyond the 1 seed"}.get(outlook.n_seeds, f" beyond the {outlook.n_seeds} seeds")
    sure = show_share(outlook.confidence)
    return f"If all that you flagged{seeds} is wrong: at most {share} of {rows} are wrong ({sure})."


def list_wants(reading: ReaderRound, n_flagged: int) -> list[tuple[str, str]]:
    """What the policy asks for: "met" as far as this round can, "unmet" or "open", and in words."""
    outlook, n_reviewers = reading.outlook, reading.release.policy.n_reviewers or 1
    wants = [_want_catches(reading, n_flagged)] if outlook.n_seeds else []
    wants.append(_want_bound(outlook, n_flagged))
    if n_reviewers > 1:
        wants.append(("open", f"{n_reviewers} people each read what leaves: one is asked after the other."))
    return wants


def _want_catches(reading: ReaderRound, n_flagged: int) -> tuple[str, str]:
    outlook = reading.outlook
    want = f"At least {outlook.n_to_catch} of the {outlook.n_seeds} items that were made to be wrong are flagged."
    so_far = f"You flagged {n_flagged} of {len(reading.items)} items"
    if n_flagged >= outlook.n_to_catch:
        return "met", f"{want} {so_far}."
    if reading.open:
        return "open", f"{want} {so_far} so far."
    return "unmet", f"{want} {so_far}: too few, and the round will not count. Look once more."


def _want_bound(outlook: Outlook, n_flagged: int) -> tuple[str, str]:
    if not outlook.n_unread:
        return "met", f"Every one of the {outlook.n_rows:,} rows was read by somebody, once this round is done."
    share, sure = show_share(outlook.max_bad_share), show_share(outlook.confidence)
    want = f"At most {share} of {outlook.n_rows:,} rows are wrong, with {sure} confidence."
    if n := outlook.count_missing(n_flagged):
        return "unmet", f"{want} At best, {n:,} more have to be read before those may leave that nobody has read."
    return "met", f"{want} At best, this round shows it."


def say_done(reading: ReaderRound, query: Mapping[str, str]) -> str:
    """What the request before this one did, for the status of the page."""
    so_far = f"{len(reading.verdicts)} of {len(reading.items)}."
    for name in ("did", "undone"):
        text = query.get(name, "")
        number = int(text) if text.isdecimal() and len(text) <= len(str(len(reading.items))) else 0
        if number in reading.items:
            return f"Item {number}: {reading.name(number) or 'no verdict any more'}. {so_far}"
    return ""
