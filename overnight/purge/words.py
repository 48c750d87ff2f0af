"""What a purge did, and what can no longer be answered after it, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from overnight.purge.purge import Purged

_KINDS = {
    "requests": "requests, with inputs, answers, reasons and the texts of their attempts",
    "bodies": "bodies of requests, responses and payloads",
    "releases": "releases, with what reviewers were shown and wrote",
    "replays": "replays, with their answers",
    "inbox": "requests from outside, with their answers; the same sent again is new",
    "parts": "parts of runs (files)",
    "copies": "copies of parts, where they were before OVERNIGHT_PARTS_URL was set (files)",
    "pages": "pages of Data Docs",
    "drafts": "drafts of reviews",
    "reports": "reports",
    "results": "results that Prefect keeps of tasks",
    "backups": "copies of the ledger from before an upgrade",
}
_KEPT = {
    "young": "are younger",
    "running": "are running, or were killed and not continued",
    "waiting": "wait for a review",
    "in batches": "have requests in provider batches",
    "in review": "have an open review",
    "approved": "have an approval that can still be used",
    "not delivered": "have deliveries that are not at their end",
}


def describe_purge(purged: Purged) -> Iterator[str]:
    """Lines to read: what was dropped, what was kept and why, and what that means."""
    counts, before = purged.counts, _name_day(purged.before)
    verb = "Would drop" if purged.is_dry else "Dropped"
    yield f"{verb}, of {counts['runs']:,} runs from before {before}: {counts['bytes']:,} bytes."
    for kind, words in _KINDS.items():
        if n := counts.get(kind):
            yield f"  {n:,} {words}"
    for why, n in purged.kept.items():
        yield f"Left whole: {n:,} runs that {_KEPT[why]}."
    if counts["requests"] or counts["releases"]:
        yield from _describe_loss(purged)
    yield (
        "Not touched: what sinks have received, what approvals sign (who decided, with the reason given), prompts,"
        " figures, what Prefect's own server keeps (artifacts, forms, logs), and backups made elsewhere."
    )
    yield from purged.left


def _describe_loss(purged: Purged) -> Iterator[str]:
    counts, would = purged.counts, "would tell" if purged.is_dry else "tells"
    yield (
        f"`overnight why` {would} hashes, times, tokens, cost and verdicts of {counts['requests']:,} requests, and not"
        " their texts. Asked again, the same rows are paid for again."
    )
    since = f"before {_name_day(purged.whole_since)}" if purged.whole_since else "there are"
    yield (
        f"Runs from {since} that were not left whole cannot be continued, compared, replayed or recalled, and what"
        " their reviews held back cannot be offered once more."
    )


def _name_day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
