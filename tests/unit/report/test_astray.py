from __future__ import annotations

import pytest

from overnight.nights import Skip
from overnight.records import BatchState, ProviderBatch
from overnight.report.astray import tell_asleep, tell_broken, tell_doubt, tell_late, tell_missing, tell_skipped

#: 2026-11-23 02:41 UTC.
DUE = 1_795_401_660.0
LINK = "http://127.0.0.1:4200/runs/flow-run/1"


@pytest.mark.parametrize(
    ("skip", "said"),
    [(Skip.STALE, "OVERNIGHT_STALE_S lets it be late"), (Skip.REPLACED, "the next one is due already")],
)
def test_a_skipped_run_is_told_with_its_time_the_reason_and_what_to_do(skip: Skip, said: str) -> None:
    notice = tell_skipped("sort-cars", DUE, skip, LINK, now=DUE + 7 * 3600)
    assert (notice.kind, notice.title) == ("skipped", "Flow sort-cars was skipped")
    assert notice.lines[0].startswith("Flow sort-cars was to begin at 2026-11-23 02:41 UTC. That was 7 hours ago, ")
    assert said in notice.lines[0]
    assert notice.lines[1].endswith(f"`overnight run sort_cars`. In Prefect: {LINK}")


def test_a_late_run_is_told_with_why_it_waits() -> None:
    notice = tell_late("sort", DUE, "no worker took it", None, now=DUE + 3600)
    line = "Flow sort was to begin at 2026-11-23 02:41 UTC, 60 minutes ago, and has not: no worker took it."
    assert notice.lines == (line, "Look whether a worker runs.")


def test_a_missing_run_is_told_by_its_deployment() -> None:
    notice = tell_missing("sort/nightly", DUE)
    assert notice.title == "sort/nightly did not run"
    assert "2026-11-23 02:41 UTC" in notice.body


@pytest.mark.parametrize(("kind", "said"), [("crashed", "has crashed"), ("lost", "is lost")])
def test_a_broken_run_is_told_by_its_id_or_else_by_its_flow(kind: str, said: str) -> None:
    assert tell_broken(kind, "sort", "night-1", "it had halted", LINK).title == f"Run night-1 {said}"
    notice = tell_broken(kind, "sort", None, "it is too late to begin", LINK)
    assert notice.title == f"Flow sort {said}"
    assert notice.lines[0].endswith("It is not put back: it is too late to begin.")


@pytest.mark.parametrize(
    ("reason", "said"), [("Two of its batches may be it.", " (Two of its batches may be it)"), (None, "")]
)
def test_a_batch_in_doubt_is_told_with_what_is_known_and_how_it_is_settled(reason: str | None, said: str) -> None:
    facts = {"packed_at": DUE, "worker_id": 1, "packed_by": 2, "n_items": 1200, "reason": reason}
    batch = ProviderBatch("b1", "night-1", "openai:gpt-fake", "http://x/v1", BatchState.IN_DOUBT, **facts)  # type: ignore[arg-type]
    notice = tell_doubt(batch, "sort", LINK)
    assert (notice.kind, notice.title) == ("doubt", "A provider batch of run night-1 is in doubt")
    assert f"openai:gpt-fake may have provider batch b1 of 1,200 requests, or may not{said}." in notice.lines[0]
    assert notice.lines[1].endswith(f"`overnight batches`. In Prefect: {LINK}")


def test_a_run_that_nobody_would_wake_is_told_with_how_it_goes_on() -> None:
    notice = tell_asleep("sort", "night-1", "its flow run is Cancelled", None)
    assert (notice.kind, notice.title) == ("asleep", "Run night-1 will not be woken")
    assert "it will not go on by itself: its flow run is Cancelled." in notice.lines[0]
    assert notice.lines[1].endswith("`overnight continue night-1`.")
