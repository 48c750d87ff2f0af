"""The table of a run's provider batches, as markdown."""

from __future__ import annotations

from typing import Any

from overnight.records import BatchState, ProviderBatch
from tasks.board import describe_batches

NOW = 1_795_401_660.0


def _make(batch_id: str, state: BatchState, **facts: Any) -> ProviderBatch:
    whose = {"worker_id": 1, "packed_by": 2, "packed_at": NOW - 7200} | facts
    return ProviderBatch(batch_id, "night-1", "openai:gpt-fake", "http://127.0.0.1:9/v1", state, **whose)


def test_each_batch_has_a_line_with_where_it_stands_the_share_done_its_age_and_its_end() -> None:
    newer = _make("b2", BatchState.PACKING, n_items=5)
    older = _make("b1", BatchState.SUBMITTED, submitted_at=NOW - 3660, provider_id="x", status="validating")
    lines = describe_batches([newer, older], NOW).splitlines()[2:]
    assert lines == [
        "| b1 | x | submitted \\(validating\\) | 0 of 0 | 1 h 1 min |  |",
        "| b2 |  | packing | 0 of 5 | 2 h 0 min |  |",
    ]


def test_one_that_has_ended_is_done_and_grows_no_older() -> None:
    ended = _make("b1", BatchState.ENDED, n_items=5, n_done=3, submitted_at=NOW - 7200, ended_at=NOW - 3600)
    assert "| 5 of 5 | 1 h 0 min |" in describe_batches([ended], NOW)


def test_what_a_provider_says_breaks_no_table() -> None:
    doubtful = _make("b1", BatchState.IN_DOUBT, reason="a | b\n<img src=x>")
    [line] = describe_batches([doubtful], NOW).splitlines()[2:]
    assert line.count(" | ") == 5
    assert "<img" not in line


def test_a_run_that_has_none_of_its_own_waits_for_others() -> None:
    assert "other runs" in describe_batches([], NOW)
