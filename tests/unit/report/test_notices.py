"""What notices say: who waits for whom, since when, until when, and where to go."""

from __future__ import annotations

import pytest

from overnight.records import Release, ReviewItem, ReviewPolicy
from overnight.report.notices import describe_span, tell_end, tell_over, tell_soon, tell_waiting

ROW_TEXT = "my card has not arrived"
#: 2026-11-23 02:41 UTC.
SINCE = 1_795_401_660.0
DAY = 86_400.0
LINK = "http://127.0.0.1:4200/runs/flow-run/1"


def _release(n_rows: int = 1234, *, waits_d: float | None = 7.0, round_n: int = 0) -> Release:
    items = tuple(ReviewItem(i, f"row-{i}", {"text": ROW_TEXT}, {"intent": ROW_TEXT}) for i in (1, 2))
    policy = ReviewPolicy(waits_d=waits_d)
    facts = ("file:out.jsonl", "replace", "reversible")
    return Release("rel", "night-1", "d", *facts, n_rows, round_n, items, 1, policy)


def test_a_wait_is_told_with_all_that_is_needed_to_go_there() -> None:
    notice = tell_waiting(_release(), "sort", since=SINCE, link=LINK)
    assert notice.title == "Run night-1 waits for a person"
    what, *others = notice.lines
    assert what.startswith("Flow sort, run night-1: 1,234 rows wait to be sent to file:out.jsonl. A release replaces")
    assert others == [
        "To be read: 2 items.",
        "It waits since 2026-11-23 02:41 UTC, for 7 days: until 2026-11-30 02:41 UTC.",
        f"Read and decide: `overnight review night-1 --web`, or in Prefect: {LINK}",
    ]


@pytest.mark.parametrize(
    ("outcome", "said"), [("second", "by somebody else too"), ("missed", "too few seeds"), ("more", "more rows")]
)
def test_a_later_round_says_what_became_of_the_last_answer(outcome: str, said: str) -> None:
    notice = tell_waiting(_release(round_n=1), "sort", since=SINCE, outcome=outcome, link=None)
    assert notice.lines[0].startswith("Round 2. What became of the last answer: ")
    assert said in notice.lines[0]


def test_nothing_of_a_row_stands_in_a_notice() -> None:
    release = _release(round_n=1)
    for notice in (
        tell_waiting(release, "sort", since=SINCE, outcome="missed", link=LINK),
        tell_soon(release, "sort", since=SINCE, until=SINCE + DAY, now=SINCE, link=LINK),
        tell_over(release, "sort", since=SINCE, link=LINK),
    ):
        assert ROW_TEXT not in notice.title + notice.body
        assert "row-1" not in notice.title + notice.body


def test_one_row_is_told_of_as_one_and_without_an_end_none_is_named() -> None:
    body = tell_waiting(_release(1, waits_d=None), "sort", since=SINCE, link=None).body
    assert "1 row waits to be sent" in body
    assert "It waits since 2026-11-23 02:41 UTC.\n" in body
    assert body.endswith("`overnight review night-1 --web`.")


def test_the_end_of_a_wait_is_told_before_and_after() -> None:
    soon = tell_soon(_release(), "sort", since=SINCE, until=SINCE + 7 * DAY, now=SINCE + 6.5 * DAY, link=LINK)
    assert (soon.kind, soon.title) == ("soon", "Run night-1 stops waiting in 12 hours")
    over = tell_over(_release(), "sort", since=SINCE, link=LINK)
    assert (over.kind, over.title) == ("over", "Run night-1 has stopped waiting")
    assert "They have not left." in over.body


def test_an_end_is_told_with_its_reason() -> None:
    notice = tell_end("halted", "night-1", "sort", "Run night-1 halted: no budget.", LINK)
    assert (notice.kind, notice.title) == ("halted", "Run night-1 has halted")
    assert notice.lines[0] == "Flow sort: Run night-1 halted: no budget."
    assert tell_end("halted", None, "sort", "The ledger is damaged.", None).title == "Flow sort has halted"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (7 * DAY, "7 days"),
        (1.5 * DAY, "36 hours"),
        (DAY, "24 hours"),
        (5400, "90 minutes"),
        (60, "1 minute"),
        (1, "1 minute"),
    ],
)
def test_a_length_of_time_is_told_in_words(seconds: float, words: str) -> None:
    assert describe_span(seconds) == words
