"""The morning brief: one page that stands alone, says what changed and what waits, and shows nothing private."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from overnight.failures import OvernightError
from overnight.ledger.runs import set_state
from overnight.ledger.schema import runs
from overnight.records import RunState
from overnight.report.brief import describe_brief, gather_brief, render_page, summarize_brief, tell_morning, write_brief
from overnight.report.brief.model import Brief
from overnight.report.compared import compare_step
from tests.conftest import House
from tests.fakes.provider import FakeProvider
from tests.trials.drifting import Nights, Sorter, make_rows

DAY_S = 86_400.0
LAST = 1_790_000_000.0


@pytest.fixture
def nights(house: House, fake: FakeProvider) -> Nights:
    fake.answer = sorter = Sorter()
    return Nights(house, fake.openai_base_url, sorter)


def pass_nights(nights: Nights, n_rows: int, changes: Sequence[dict[str, object]]) -> str:
    """A night for each set of changes to the provider's ways, all but the last approved; the last one's id."""
    house, n = nights.house, len(changes)
    for at, change in enumerate(changes, 1):
        run_id = f"night-{at}"
        for name, value in change.items():
            setattr(nights.sorter, name, value)
        checked, prompt = nights.work(run_id, make_rows(n_rows, at))
        began = LAST - (n - at) * DAY_S
        house.tamper("UPDATE runs SET started_at = :at WHERE run_id = :run", at=began, run=run_id)
        compare_step(run_id, 1, ledger=house.ledger, place=house.home, now=began)
        if at < n:
            nights.approve(run_id, checked, prompt)
            house.ledger.write(lambda c, r=run_id: set_state(c, r, RunState.RELEASED))  # type: ignore[misc]
    house.offer_checked([checked], prompt, run_id=run_id)
    house.ledger.write(lambda c: set_state(c, run_id, RunState.WAITING))
    return run_id


def gather(house: House, run_id: str) -> Brief:
    return gather_brief(run_id, ledger=house.ledger, place=house.home, now=LAST + 3600)


def test_the_page_says_what_changed_and_what_waits_and_needs_nothing_else(nights: Nights, house: House) -> None:
    swallow = {"swallows": {"card_arrival": "lost_card"}, "refuses": 0.05}
    brief = gather(house, pass_nights(nights, 120, [{}, {}, swallow]))
    path = write_brief(brief, house.home)
    page = path.read_text()
    assert path == house.home / "reports" / "night-3.html"
    assert "card_arrival" in page
    assert "since night-2" in page
    assert f"{brief.summary.accepted} of 120 rows wait to be read before they leave" in page
    assert "overnight review night-3 --web" in page
    assert page.count("<svg") >= 5
    # Nothing is loaded from anywhere, and nothing runs.
    assert not re.findall(r"<script|<link|<img|@import|url\((?!#)|src=", page)
    assert not [address for address in re.findall(r"https?://[^\"' <]+", page) if "w3.org" not in address]
    assert "default-src 'none'" in page


def test_the_terminal_and_the_notice_say_the_same_in_short(nights: Nights, house: House) -> None:
    brief = gather(house, pass_nights(nights, 40, [{}, {}]))
    told = "\n".join(describe_brief(brief))
    assert "Nothing that is measured has changed beyond its limit." in told
    assert "40 of 40 rows wait to be read" in told
    found = summarize_brief(brief)
    assert (found["compared_with"], found["changes"], found["accepted"]) == ("night-1", [], 40)
    assert (found["figures"]["rows"], found["figures"]["answered without a call"]) == (40, 0.0)
    assert found["figures"]["cost, USD"] is None
    notice = tell_morning([brief])
    assert notice.title == "1 run last night, 1 waiting for a person"
    assert "sort, run night-2: 40 of 40 rows wait to be read before they leave." in notice.lines


def test_while_a_review_is_open_no_row_of_it_is_shown(nights: Nights, house: House) -> None:
    open_ = gather(house, pass_nights(nights, 40, [{}, {"refuses": 0.2}]))
    assert open_.rows
    assert {row.why for row in open_.rows} == {"set aside"}
    ended = gather(house, "night-1")
    assert ended.rows
    assert all(row.output for row in ended.rows)


def test_what_comes_of_a_model_is_text_on_the_page(nights: Nights, house: House) -> None:
    nights.sorter.reason = "<script>alert(1)</script> {}"
    pass_nights(nights, 20, [{}, {}])
    page = render_page(gather(house, "night-1"))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_run_that_asked_nothing_has_its_page_all_the_same(house: House) -> None:
    house.begin("night-1")
    house.ledger.write(lambda c: set_state(c, "night-1", RunState.HALTED, "The key is missing. Set OPENAI_API_KEY."))
    house.ledger.write(lambda c: c.execute(sa.update(runs).values(started_at=LAST)))
    page = render_page(gather(house, "night-1"))
    assert "The key is missing." in page
    assert "None of its rows was asked: there is nothing to compare." in page


def test_a_page_that_cannot_be_written_is_one_line(nights: Nights, house: House) -> None:
    brief = gather(house, pass_nights(nights, 20, [{}]))
    (house.home / "reports").write_text("in its place")
    with pytest.raises(OvernightError, match=r"The page .* cannot be written") as refused:
        write_brief(brief, house.home)
    assert "\n" not in str(refused.value)


def test_of_a_chain_only_what_its_last_step_answered_waits(nights: Nights, house: House) -> None:
    brief = gather(house, pass_nights(nights, 20, [{}]))
    skipped = replace(brief.report, summary=replace(brief.summary, skipped=15))
    told = describe_brief(replace(brief, report=skipped))
    assert "5 of 20 rows wait to be read before they leave" in told
