"""What is told of a run whose rows a purge has dropped, or whose parts were lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overnight.complete.recorded import get_recorded
from overnight.failures import OvernightError, PartMissing, PartPurged
from overnight.ledger.manifests import find_latest_batches, list_last_batches, record_batches
from overnight.ledger.purges import open_purge
from overnight.ledger.runs import pin_prompt, set_state
from overnight.purge import purge
from overnight.records import RunState
from overnight.report.brief import gather_brief
from overnight.report.diff import compare
from overnight.report.measure import RunReport, measure, render_markdown
from overnight.report.naming import get_request_key
from overnight.report.quarantine import find_quarantine
from overnight.report.to_read import pick_rows_to_read
from overnight.report.why import explain_row
from tests.conftest import RUN, House

_DAY_S = 86_400.0


def _purge(house: House, after_s: float = 90 * _DAY_S) -> str:
    """Drop all that there is, long after; the day of the purge."""
    now = time.time() + after_s
    house.ledger.write(lambda c: set_state(c, RUN, RunState.RELEASED))
    purge(house.ledger, house.home, house.home, before=now - _DAY_S, by="Ada", clock=lambda: now)
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def _list_parts(house: House) -> list[Path]:
    return sorted((house.home / "parts").rglob("*.parquet"))


def _lose(house: House) -> None:
    for path in _list_parts(house):
        path.unlink()


def _measure(house: House) -> RunReport:
    return measure(RUN, ledger=house.ledger, place=house.home, now=3.0)


def test_a_report_of_a_purged_run_has_its_figures_and_one_line_of_the_purge(night: House) -> None:
    before = _measure(night)
    day = _purge(night)
    assert not _list_parts(night)
    report = _measure(night)
    assert (report.summary.rows, report.summary.accepted, report.summary.quarantined, report.summary.published) == (
        before.summary.rows, before.summary.accepted, before.summary.quarantined, before.summary.published,
    )  # fmt: skip
    assert (before.reasons != (), report.reasons) == (True, ())
    [warning] = report.warnings
    assert warning.startswith(f"Its rows were dropped by the purge of {day} ")
    assert "run the flow again" not in render_markdown(report).lower()


def test_a_report_names_each_batch_whose_part_is_lost_or_altered_and_tells_the_others(night: House) -> None:
    whole = _measure(night)
    [batch] = _list_batches(night)
    other = type(batch)(**{**vars(batch), "n": 2, "part": type(batch.part)("parts/no/such.parquet", "d", 5)})
    night.ledger.write(lambda c: record_batches(c, RUN, [other]))
    report = _measure(night)
    assert report.reasons == whole.reasons
    [warning] = report.warnings
    assert warning.startswith("The reasons of batch 2 cannot be read: Part parts/no/such.parquet cannot be read (No")
    (night.home / batch.part.path).write_bytes(b"?")
    assert [w.partition(":")[0] for w in _measure(night).warnings] == [
        "The reasons of batch 1 cannot be read",
        "The reasons of batch 2 cannot be read",
    ]


def _list_batches(house: House) -> list[Any]:
    """The batches of the night."""
    with house.ledger.reading() as connection:
        return list(find_latest_batches(connection, RUN).values())


@pytest.mark.parametrize("drop", [_purge, _lose])
def test_no_part_that_is_gone_keeps_a_brief_from_being_made(night: House, drop: Callable[[House], Any]) -> None:
    drop(night)
    brief = gather_brief(RUN, ledger=night.ledger, place=night.home, now=3.0)
    assert (brief.rows, brief.report.summary.rows) == ((), 5)


def _quarantine(house: House) -> Any:
    return find_quarantine(RUN, ledger=house.ledger, place=house.home)


def _diff(house: House) -> Any:
    return compare(RUN, RUN, ledger=house.ledger, place=house.home)


def _read(house: House) -> Any:
    return pick_rows_to_read(RUN, n_rows=2, ledger=house.ledger, place=house.home)


@pytest.mark.parametrize("ask", [_quarantine, _diff, _read])
def test_what_needs_the_rows_names_the_purge_in_one_line(night: House, ask: Callable[[House], Any]) -> None:
    day = _purge(night)
    with pytest.raises(PartPurged, match=f"The rows of run {RUN} were dropped by the purge of {day} ") as caught:
        ask(night)
    assert "\n" not in str(caught.value)
    assert "Run the flow again" not in str(caught.value)


@pytest.mark.parametrize("ask", [_quarantine, _diff, _read])
def test_a_part_that_was_lost_is_not_said_to_be_purged(night: House, ask: Callable[[House], Any]) -> None:
    night.ledger.write(lambda c: open_purge(c, 0.5, "Ada", 3.0))
    _lose(night)
    with pytest.raises(PartMissing, match="cannot be read"):
        ask(night)


def test_a_row_that_was_offered_has_its_key_after_a_purge_and_a_replay_names_what_is_gone(night: House) -> None:
    before = get_request_key("r1", run_id=None, ledger=night.ledger, place=night.home)
    day = _purge(night)
    assert get_request_key("r1", run_id=None, ledger=night.ledger, place=night.home) == before
    with night.ledger.reading() as connection, pytest.raises(OvernightError, match=f"was purged on {day}"):
        get_recorded(connection, *before)


def _halt_another(house: House) -> None:
    """A newer run that pinned the same rows, and stopped before it asked them."""
    batch = house.read_batch(["a red car", "a blue car", "", "refuse this", "busy"])
    house.begin("night-2", now=2.0)
    house.ledger.write(lambda c: record_batches(c, "night-2", [batch]))


def test_a_row_that_a_halted_run_has_not_asked_is_found_in_the_run_before_it(night: House) -> None:
    _halt_another(night)
    _, run = get_request_key("r1", run_id=None, ledger=night.ledger, place=night.home)
    assert run == RUN
    with pytest.raises(OvernightError, match="'r1' was never asked in run night-2: it is pending"):
        get_request_key("r1", run_id="night-2", ledger=night.ledger, place=night.home)
    with pytest.raises(OvernightError, match="'r3' was never asked in run night-2: it was set aside at intake"):
        get_request_key("r3", run_id=None, ledger=night.ledger, place=night.home)


def test_what_rules_said_of_a_purged_batch_is_not_known_where_another_run_keeps_its_part(night: House) -> None:
    with night.ledger.reading() as connection:
        batches = list_last_batches(connection, RUN)
    rules = '{"row": [], "batch": [{"type": "expect", "kwargs": {"column": "label"}}]}'
    prompt = replace(night.make_prompt(), checks=rules)
    night.ledger.write(lambda c: pin_prompt(c, RUN, prompt))
    later = time.time() + 90 * _DAY_S
    night.begin("night-2", now=later)
    night.ledger.write(lambda c: record_batches(c, "night-2", batches))
    assert _tell_rules(night) == ["passed"]
    _purge(night)
    assert _list_parts(night)
    assert _tell_rules(night) == ["not known"]


def _tell_rules(house: House) -> list[str]:
    told = explain_row("r1", run_id=RUN, ledger=house.ledger, place=house.home)
    return [one["result"] for one in told["checks"]["batch"]]
