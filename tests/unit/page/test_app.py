from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from overnight.approve import Decision
from overnight.approve.outlook import Outlook
from overnight.failures import ReviewRefused
from overnight.page import Review
from overnight.records import Release, RunState
from tests.unit.page.conftest import Browser, FakeDesk, make_release, open_page, read_text


def _read_all(browser: Browser) -> None:
    for number in (1, 2, 3):
        browser.send(f"/item/{number}", verdict="correct")


def _decide(browser: Browser, **fields: str) -> str:
    return browser.send("/decision", **({"decision": "release", "reviewer": "Ada", "reason": ""} | fields))


def test_a_round_is_read_and_decided_by_plain_forms_alone(browser: Browser, desk: FakeDesk) -> None:
    desk.says.append(Decision("approved", "999 rows may leave, 1 are held."))
    assert "1 of them was made to be plainly wrong" in read_text(browser.get("/"))
    assert "Item 1: correct. 1 of 3." in read_text(browser.send("/item/1", verdict="correct"))
    assert browser.path == "/item/2"
    browser.send("/item/2", verdict="wrong")
    assert browser.path == "/item/2/wrong"
    browser.send("/item/2/wrong", reason=" It is blue. ")
    assert browser.path == "/item/3"
    browser.send("/item/3", verdict="edit")
    assert browser.path == "/item/3/edit"
    page = browser.send("/item/3/edit", **{"field-0": '"green"', "field-1": "red door 3", "field-2": "3"})
    assert browser.path == "/decision"
    assert "Item 2, row r2 It is blue." in read_text(page)
    page = _decide(browser)
    assert (browser.path, len(browser.ended) > 0) == ("/result", True)
    assert "999 rows may leave" in read_text(page)
    [given] = desk.handed
    assert (given.decision, given.reviewer, given.release, given.round) == ("release", "Ada", "night-1-abc", 0)
    assert given.model_dump()["items"] == {
        1: "correct",
        2: {"wrong": "It is blue."},
        3: {"corrected": {"label": "green"}},
    }


def test_a_wrong_row_needs_a_reason(browser: Browser) -> None:
    page = browser.send("/item/1/wrong", reason="   ")
    assert (browser.status, browser.path) == (422, "/item/1/wrong")
    assert "A row is wrong for a reason." in read_text(page)
    assert browser.review.reading.verdicts == {}


def test_undo_takes_the_last_verdict_back_and_shows_its_item(browser: Browser) -> None:
    browser.send("/item/1", verdict="correct")
    browser.send("/item/2", verdict="unsure")
    page = browser.send("/undo")
    assert browser.path == "/item/2"
    assert "Item 2: no verdict any more. 1 of 3." in read_text(page)
    browser.send("/undo")
    browser.send("/undo")
    assert (browser.path, browser.review.reading.verdicts) == ("/", {})


def test_a_verdict_can_be_changed_and_the_reading_goes_on_where_it_was(browser: Browser) -> None:
    browser.send("/item/1", verdict="correct")
    browser.send("/item/2", verdict="correct")
    assert "Your verdict: correct" in read_text(browser.get("/item/1"))
    browser.send("/item/1", verdict="unsure")
    assert browser.path == "/item/3"
    assert browser.review.reading.name(1) == "unsure"


def test_an_edit_without_a_change_stays_where_it_is(browser: Browser) -> None:
    page = browser.send("/item/1/edit", **{"field-0": '"red"', "field-1": "red door 1", "field-2": "1"})
    assert browser.status == 422
    assert "Nothing was changed in item 1." in read_text(page)


def test_an_edit_that_the_schema_refuses_is_shown_with_what_was_typed(browser: Browser) -> None:
    page = browser.send("/item/1/edit", **{"field-0": '"red"', "field-1": "x" * 61, "field-2": "1"})
    assert browser.status == 422
    assert "does not fit the prompt's schema at quote" in read_text(page)
    assert "x" * 61 in page
    assert 'aria-invalid="true"' in page


@pytest.mark.parametrize("why", ["The code of Ada is wrong.", "Item 3 has no verdict."])
def test_a_refusal_is_shown_on_the_summary_and_nothing_is_lost(browser: Browser, desk: FakeDesk, why: str) -> None:
    desk.says.append(ReviewRefused(why))
    desk.is_coded = True
    _read_all(browser)
    page = _decide(browser, reason="read twice", code="000000")
    assert (browser.status, browser.path) == (422, "/decision")
    assert why in read_text(page).split("Your decision")[0]
    assert 'value="Ada"' in page
    assert "read twice" in page
    assert "000000" not in page
    assert desk.handed[0].code == "000000"
    assert len(browser.review.reading.verdicts) == 3


@pytest.mark.parametrize(
    ("fields", "why"), [({"decision": ""}, "Nothing is decided yet."), ({"reviewer": " "}, "has a name under it")]
)
def test_what_the_form_lacks_is_said_before_the_desk_is_asked(
    browser: Browser, desk: FakeDesk, fields: dict[str, str], why: str
) -> None:
    assert why in read_text(_decide(browser, **fields))
    assert desk.handed == []


def test_who_rejects_early_hands_no_half_a_reading_in(browser: Browser, desk: FakeDesk) -> None:
    desk.says.append(Decision("rejected", "Nothing leaves."))
    browser.send("/item/1", verdict="correct")
    _decide(browser, decision="reject", reason="The wrong night.")
    assert desk.handed[0].items == {}


def test_another_round_begins_with_its_own_items(browser: Browser, desk: FakeDesk) -> None:
    desk.says += [Decision("more", "Read 20 rows more."), Decision("held", "No row may leave.")]
    desk.rounds += [
        ReviewRefused("The rows are gone."),
        make_release({"label": "green", "quote": "door", "n": 9}, round=1),
    ]
    _read_all(browser)
    page = _decide(browser)
    assert "Read 20 rows more." in page
    assert "Read the next rows" in page
    assert browser.get("/item/1") == browser.get("/result")
    assert "The rows are gone." in browser.send("/result")
    browser.send("/result")
    assert (browser.path, browser.ended) == ("/", [])
    assert "green" in browser.get("/item/1")
    browser.send("/item/1", verdict="correct")
    _decide(browser)
    assert desk.handed[1].round == 1


def test_a_form_of_an_earlier_round_is_not_counted(browser: Browser, desk: FakeDesk) -> None:
    page = browser.send("/item/1", verdict="correct", round=7)
    assert "an item of another round" in page
    browser.send("/decision", decision="release", reviewer="Ada", round=7)
    assert (browser.review.reading.verdicts, desk.handed) == ({}, [])


def test_a_second_reader_is_asked_for_in_words(browser: Browser, desk: FakeDesk) -> None:
    desk.says.append(Decision("second", "3 rows have to be read by somebody else too.", is_for_others=True))
    _read_all(browser)
    assert "I am somebody else: begin" in _decide(browser)


def test_who_finds_somebody_elses_verdicts_can_begin_anew(make_review: Callable[..., Review]) -> None:
    make_review().reading.give(1, "correct")
    with open_page(make_review()) as browser:
        page = read_text(browser.get("/"))
        assert "Go on at item 2" in page
        assert "Go on only if they are yours." in page
        page = read_text(browser.send("/anew"))
        assert "Go on" not in page
    assert make_review().reading.verdicts == {}


def test_text_of_rows_and_models_is_only_ever_text(make_review: Callable[..., Review]) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e</textarea>'
    release = make_release({"label": evil, "quote": evil, "n": 1, evil: [evil]}, body=evil, sink=evil)
    release = replace(release, items=tuple(replace(item, row_id=evil) for item in release.items))
    with open_page(make_review(release)) as browser:
        browser.send("/item/1/wrong", reason=evil)
        for path in ("/", "/item/1", "/item/1/wrong", "/item/1/edit", "/decision"):
            page = browser.get(path)
            assert browser.status == 200
            assert "<script>alert" not in page
            assert "<img" not in page
            assert page.count("</textarea>") == page.count("<textarea")


def test_a_hidden_character_is_shown_by_its_code(make_review: Callable[..., Review]) -> None:
    with open_page(make_review(make_release({"label": "red\u202e", "quote": "a\u200bb", "n": 1}))) as browser:
        assert "red\\u202e" in browser.get("/item/1")
        assert "a\\u200bb" in browser.get("/item/1")


def test_what_is_no_form_or_too_long_is_refused(browser: Browser) -> None:
    assert browser.client.post("/item/1", content=b"verdict=\xff").status_code == 400
    assert browser.client.post("/item/1", content=b"a&" * 2000).status_code == 400
    assert browser.client.post("/item/1", content=b"a" * 5_000_000).status_code == 413
    assert browser.get("/item/99").count("wait for your reading") == 1
    assert browser.get("/item/1?did=99&undone=x").count("Item 1") > 0


def test_the_bound_grows_with_the_reading(browser: Browser) -> None:
    assert "Nothing is known of the 1,000 rows yet." in browser.get("/item/1")
    _read_all(browser)
    assert "If all that you flagged beyond the 1 seed is wrong: at most" in browser.get("/item/1")


def test_the_summary_does_not_tell_whether_enough_was_flagged(make_review: Callable[..., Review]) -> None:
    release = make_release(n_seeds=3)
    with open_page(make_review(release)) as browser:
        _read_all(browser)
        none = read_text(browser.get("/decision")).split("What the flow wants")[1].split("What you flagged")[0]
        for number in (1, 2, 3):
            browser.send(f"/item/{number}", verdict="unsure")
        every = read_text(browser.get("/decision")).split("What the flow wants")[1].split("What you flagged")[0]
    assert none == every
    assert "Not yet At least 2 of the 3 items that were made to be wrong have to be flagged" in none


def test_before_anything_is_read_no_share_is_shown(browser: Browser) -> None:
    for path in ("/", "/item/1", "/decision"):
        assert "%" not in read_text(browser.get(path))


@pytest.mark.parametrize(
    ("n_rows", "n_read", "words"),
    [
        (2, 0, "All 2 rows of the release are in this round."),
        (20, 18, "All 20 rows of the release are read by somebody, once this round is done."),
    ],
)
def test_where_all_rows_are_read_nothing_is_reckoned(
    make_review: Callable[..., Review], n_rows: int, n_read: int, words: str
) -> None:
    def find(release: Release) -> Outlook:
        return Outlook(n_rows, 0, n_read, 0, 3, 2, release.n_seeds, 0.95, 0.1)

    with open_page(make_review(make_release(n_rows=n_rows), find_outlook=find)) as browser:
        for path in ("/item/1", "/decision"):
            page = read_text(browser.get(path))
            assert words in page
            assert "%" not in page


@pytest.mark.parametrize("path", ["/", "/item/1", "/decision"])
def test_a_run_that_was_decided_elsewhere_ends_the_page(browser: Browser, desk: FakeDesk, path: str) -> None:
    browser.send("/item/1", verdict="correct")
    desk.standing = RunState.REJECTED
    page = read_text(browser.get(path))
    assert "The run was decided elsewhere: rejected. The verdicts of this page are not counted." in page
    assert browser.ended


def test_a_decision_that_comes_too_late_is_told_what_was_decided(browser: Browser, desk: FakeDesk) -> None:
    _read_all(browser)
    desk.says.append(ReviewRefused("Release night-1-abc was held by Ben already."))
    desk.standing = RunState.HELD
    assert "decided elsewhere: held." in read_text(_decide(browser))
    assert browser.ended


def test_no_next_round_begins_where_it_was_decided_elsewhere(browser: Browser, desk: FakeDesk) -> None:
    desk.says.append(Decision("more", "Read 20 rows more."))
    _read_all(browser)
    _decide(browser)
    desk.standing = RunState.HELD
    assert "decided elsewhere: held." in read_text(browser.send("/result"))


def test_what_was_decided_on_the_page_was_not_decided_elsewhere(browser: Browser, desk: FakeDesk) -> None:
    desk.says.append(Decision("held", "No row may leave."))
    _read_all(browser)
    _decide(browser)
    desk.standing = RunState.HELD
    assert "No row may leave." in browser.get("/")


def test_in_a_later_round_what_nobody_read_is_held_without_reading_on(
    make_review: Callable[..., Review], desk: FakeDesk
) -> None:
    desk.says.append(Decision("approved", "54 rows may leave, 346 are held."))
    with open_page(make_review(make_release(round=1))) as browser:
        browser.send("/item/1", verdict="correct")
        page = browser.get("/decision")
        assert page.count("The verdicts of this round are not recorded then, since items are open.") == 2
        _decide(browser, decision="hold")
    assert (desk.handed[0].decision, desk.handed[0].items) == ("hold", {})


@pytest.mark.parametrize(("decision", "round_n"), [("hold", 0), ("release", 1)])
def test_else_the_engine_says_which_item_is_open(
    make_review: Callable[..., Review], desk: FakeDesk, decision: str, round_n: int
) -> None:
    desk.says.append(ReviewRefused("Item 2 has no verdict."))
    with open_page(make_review(make_release(round=round_n))) as browser:
        browser.send("/item/1", verdict="correct")
        assert "Item 2 has no verdict." in read_text(_decide(browser, decision=decision))
    assert desk.handed[0].items == {1: "correct"}


def test_a_name_that_was_given_beforehand_is_filled_in(make_review: Callable[..., Review]) -> None:
    with open_page(make_review(reviewer="Ada Lovelace")) as browser:
        assert 'value="Ada Lovelace"' in browser.get("/decision")


@pytest.mark.parametrize(("is_for_others", "name"), [(False, "Ada"), (True, "")])
def test_who_reads_on_need_not_give_the_name_again(
    browser: Browser, desk: FakeDesk, is_for_others: bool, name: str
) -> None:
    desk.says.append(Decision("missed", "Go on.", is_for_others=is_for_others))
    desk.rounds.append(make_release({"label": "green", "quote": "door", "n": 9}, round=1))
    _read_all(browser)
    _decide(browser)
    browser.send("/result")
    assert browser.review.typed["reviewer"] == name
