"""How far a round has come, in words."""

from __future__ import annotations

from collections.abc import Mapping

from overnight.approve.outlook import Outlook
from overnight.approve.words import show_share
from overnight.page.reading import ReaderRound
from overnight.records import Approval, RunState


def describe_outlook(reading: ReaderRound) -> str:
    """The bound as it stands; it is reckoned from counts, and tells no seed from a row."""
    outlook, n_flagged = reading.outlook, len(reading.list_flagged())
    if not outlook.n_unread:
        return _describe_whole(outlook)
    rows, most = f"{outlook.n_rows:,} rows", outlook.bound(len(reading.verdicts), n_flagged)
    if _is_blank(reading) or most == outlook.n_rows:
        return f"Nothing is known of the {rows} yet."
    share = show_share(most / outlook.n_rows)
    seeds = {0: "", 1: " beyond the 1 seed"}.get(outlook.n_seeds, f" beyond the {outlook.n_seeds} seeds")
    sure = show_share(outlook.confidence)
    return f"If all that you flagged{seeds} is wrong: at most {share} of {rows} are wrong ({sure})."


def _is_blank(reading: ReaderRound) -> bool:
    """Whether nobody has read anything yet: a share would look like a finding."""
    return not reading.verdicts and not reading.outlook.n_read


def _describe_whole(outlook: Outlook) -> str:
    """Where every row is read, nothing is left to be reckoned."""
    rows, verb = ("The one row", "is") if outlook.n_rows == 1 else (f"All {outlook.n_rows:,} rows", "are")
    if outlook.n_items - outlook.n_seeds == outlook.n_rows:
        return f"{rows} of the release {verb} in this round."
    return f"{rows} of the release {verb} read by somebody, once this round is done."


def list_wants(reading: ReaderRound, n_flagged: int) -> list[tuple[str, str]]:
    """What the policy asks for: "met" as far as this round can, "unmet" or "open", and in words."""
    outlook, n_reviewers = reading.outlook, reading.release.policy.n_reviewers or 1
    wants = [_want_catches(outlook)] if outlook.n_seeds else []
    wants.append(_want_bound(reading, n_flagged))
    if n_reviewers > 1:
        wants.append(("open", f"{n_reviewers} people each read what leaves: one is asked after the other."))
    return wants


def _want_catches(outlook: Outlook) -> tuple[str, str]:
    """Nothing of how many were flagged: who could tell beforehand that it was enough would have counted, not read."""
    n, n_seeds = outlook.n_to_catch, outlook.n_seeds
    made = "The item that was made to be wrong has"
    if n_seeds > 1:
        made = f"At least {n} of the {n_seeds} items that were made to be wrong have"
    return "open", f"{made} to be flagged: whether that is so is told once you decide."


def _want_bound(reading: ReaderRound, n_flagged: int) -> tuple[str, str]:
    outlook = reading.outlook
    if not outlook.n_unread:
        return "met", _describe_whole(outlook)
    if _is_blank(reading):
        return "open", "Enough rows are read at random: what that has come to is said here as you read."
    share, sure = show_share(outlook.max_bad_share), show_share(outlook.confidence)
    want = f"At most {share} of {outlook.n_rows:,} rows are wrong, with {sure} confidence."
    if n := outlook.count_missing(n_flagged):
        return "unmet", f"{want} At best, {n:,} more have to be read before those may leave that nobody has read."
    return "met", f"{want} At best, this round shows it."


def describe_kept(reading: ReaderRound) -> str:
    """What of a round is gone on with another time."""
    n_items = len(reading.items)
    return reading.fault or f"{len(reading.verdicts)} of {n_items} verdicts are kept as a draft."


def describe_elsewhere(standing: Approval | RunState) -> str:
    """What was decided elsewhere meanwhile."""
    if isinstance(standing, Approval):
        return f"approved by {standing.reviewer}"
    return str(standing)


def say_done(reading: ReaderRound, query: Mapping[str, str]) -> str:
    """What the request before this one did, for the status of the page."""
    so_far = f"{len(reading.verdicts)} of {len(reading.items)}."
    for name in ("did", "undone"):
        text = query.get(name, "")
        number = int(text) if text.isdecimal() and len(text) <= len(str(len(reading.items))) else 0
        if number in reading.items:
            return f"Item {number}: {reading.name(number) or 'no verdict any more'}. {so_far}"
    return ""
