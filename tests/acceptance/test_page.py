"""A morning at the review page: sixty items by keyboard alone, and the ledger's record of it."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from queue import Queue

import orjson
import pytest
from playwright.sync_api import Page, sync_playwright

from overnight.approve import Decision
from overnight.cli.web import read_on_page
from overnight.complete import resolve_prompt
from overnight.keys import canonical_json, request_key
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import record_part
from overnight.parts import write_part
from overnight.prompts import parse_prompt
from overnight.records import CheckedBatch, Prompt, Release, RowState
from tests.acceptance.reading_page import ReadingPage
from tests.conftest import NO_CHECKS, NOWHERE, House

pytestmark = pytest.mark.acceptance

_TEXT = (
    "---\nmodel: openai:gpt-fake\nid: id\ninputs: [subject, body]\nparameters: {max_tokens: 200}\n---\n"
    "Sort this: <query>{{ subject }} {{ body }}</query>"
)
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["category", "urgent", "summary"],
    "properties": {
        "category": {"enum": ["billing", "bug", "feature request", "other"]},
        "urgent": {"type": "boolean"},
        "summary": {"type": "string", "maxLength": 400},
    },
}
_TICKETS = [
    (
        *("billing", False, "Charged twice in March"),
        "Hello,\n\nmy card was charged twice for invoice 4711 on the 3rd. Could you look into it?\n\nBest,\nGrace",
        'The customer says "my card was charged twice" and wants one charge refunded.',
    ),
    (
        *("bug", True, "Nothing opens any more"),
        "Since this morning the app crashes as soon as I press Export.\nWe send our reports at noon!",
        'Urgent: "the app crashes as soon as I press Export" since this morning.',
    ),
    (
        *("feature request", False, "A dark theme"),
        "I read a lot at night. Could there be a dark theme, please?",
        "Asks for a dark theme to read at night.",
    ),
]


@pytest.fixture(autouse=True)
def _calm() -> None:
    """This story needs no server: the one of the others is not started for it."""


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        yield browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        browser.close()


def _make_prompt(house: House) -> Prompt:
    parsed = parse_prompt("tickets", text=_TEXT, schema=orjson.dumps(_SCHEMA).decode(), checks=NO_CHECKS)
    prompt = resolve_prompt(parsed, None, endpoint=NOWHERE)
    house.ledger.write(lambda c: record_prompt(c, prompt, 1.0))
    return prompt


def _make_rows(prompt: Prompt, n_rows: int) -> Iterator[dict[str, object]]:
    for number in range(1, n_rows + 1):
        category, urgent, subject, body, summary = _TICKETS[number % len(_TICKETS)]
        given = canonical_json({"subject": f"{subject} ({number})", "body": body}).decode()
        answer = {"category": category, "urgent": urgent, "summary": summary}
        yield {
            "row_id": f"T-{number:04}",
            "row_number": number,
            "input": given,
            "state": RowState.ACCEPTED.value,
            "request_key": request_key(given, prompt.prompt_hash),
            "output": canonical_json(answer).decode(),
        }


def offer_tickets(house: House, *, n_rows: int = 400, max_bad_share: float = 0.0475) -> Release:
    """A release of tickets, of which 55 are read, and five seeds."""
    prompt = _make_prompt(house)
    house.begin()
    part = write_part(list(_make_rows(prompt, n_rows)), house.home)
    checked = CheckedBatch(1, part, prompt.prompt_hash, prompt.checks_hash, n_rows, 0, 0)
    house.ledger.write(lambda c: record_part(c, "check", checked, 1.0))
    rng = random.Random(7)  # noqa: S311 - the same items each time
    return house.offer_checked([checked], prompt, rng=rng, max_bad_share=max_bad_share, n_seeds=5)


def serve(house: House, release: Release) -> tuple[str, Future[Decision]]:
    """The page as `overnight review --web` serves it: its address, and the decision to come."""
    urls, found = Queue[str](), Future[Decision]()

    def read() -> None:
        try:
            found.set_result(read_on_page(release, house.settings, house.ledger, tell=urls.put))
        except BaseException as error:  # noqa: BLE001 - the test sees it
            found.set_exception(error)

    threading.Thread(target=read, daemon=True).start()
    return urls.get(timeout=10), found


def test_sixty_items_are_read_by_keyboard_alone_and_the_ledger_has_every_verdict(house: House, page: Page) -> None:
    release = offer_tickets(house)
    seeds = {n for (n,) in house.fetch("SELECT item FROM drawn_items WHERE stratum = 'seed'")}
    wrong, mended = [n for n in range(10, 60) if n not in seeds][:2]
    assert (len(release.items), len(seeds)) == (60, 5)
    url, found = serve(house, release)
    reader = ReadingPage(page)

    reader.open(url)
    reader.save("start")
    reader.press("Enter")
    for number in range(1, 61):
        reader.expect_item(number)
        if number == 5:
            _change_mind(reader)
        if number == wrong:
            reader.save("item")
            _call_wrong(reader, number)
        elif number == mended:
            _mend(reader, number)
        else:
            reader.press("u" if number in seeds else "c")
    reader.expect_heading("All is read: your decision")
    reader.save("summary")
    reader.tab_to("Release")
    reader.press("ArrowDown")
    reader.tab_to("Your name")
    reader.type("Ada")
    reader.tab_to("Record the decision")
    reader.save("decision")
    reader.press("Enter")
    reader.expect_heading("Approved")
    reader.expect_text("54 rows may leave, 346 are held.")
    reader.save("result")

    decision = found.result(timeout=30)
    [recorded] = house.fetch(
        "SELECT channel, reviewer, decision, outcome, n_caught, seconds, verdicts FROM review_answers"
    )
    given = orjson.loads(recorded[6])
    output = dict(release.items[mended - 1].output)
    assert decision.outcome == "approved"
    assert recorded[:5] == ("page", "Ada", "hold", "approved", 5)
    assert 0 < recorded[5] < 60
    assert given.pop(str(wrong)) == {"wrong": "It is no such ticket."}
    assert given.pop(str(mended)) == {"corrected": output | {"category": "other", "summary": "Mended by hand."}}
    assert {given.pop(str(n)) for n in seeds} == {"unsure"}
    assert set(given.values()) == {"correct"}
    assert list((house.home / "reviews").iterdir()) == []


def test_single_keys_can_be_switched_off_for_good(house: House, page: Page) -> None:
    release = offer_tickets(house)
    url, found = serve(house, release)
    reader = ReadingPage(page)
    reader.open(url)
    reader.press("Enter")
    reader.expect_item(1)
    reader.tab_to("Single-key shortcuts")
    reader.press("Space")
    for key in "cuz":
        reader.press(key)
    reader.tab_to("Correct")
    reader.press("Enter")
    reader.expect_item(2)
    reader.press("c")
    reader.expect_said("Item 1: correct. 1 of 60.")
    reader.expect_item(2)
    reader.tab_to("Single-key shortcuts")
    reader.press("Space")
    reader.press("c")
    reader.expect_item(3)
    _reject(reader)
    assert found.result(timeout=30).outcome == "rejected"


def _reject(reader: ReadingPage) -> None:
    reader.tab_to("Overview")
    reader.press("Enter")
    reader.expect_heading("Not all is read yet")
    reader.tab_to("Release")
    reader.press("ArrowUp")
    reader.tab_to("Your name")
    reader.type("Ada")
    reader.tab_to("Reason needed to reject")
    reader.type("The wrong night.")
    reader.tab_to("Record the decision")
    reader.press("Enter")
    reader.expect_heading("Rejected")


def _change_mind(reader: ReadingPage) -> None:
    """Item 4 is taken back and given again; item 3 is looked at in between."""
    reader.press("z")
    reader.expect_item(4)
    reader.expect_said("Item 4: no verdict any more. 3 of 60.")
    reader.press("ArrowLeft")
    reader.expect_item(3)
    reader.expect_text("Your verdict: ")
    reader.press("ArrowRight")
    reader.expect_item(4)
    # Not with a modifier: that is the browser's.
    reader.press("Alt+c")
    reader.press("c")
    reader.expect_item(5)


def _call_wrong(reader: ReadingPage, number: int) -> None:
    reader.press("w")
    reader.expect_typing(f"What is wrong with item {number}?")
    # In a text field they are letters.
    for key in "cu":
        reader.press(key)
    reader.press("Control+a")
    reader.type("It is no such ticket.")
    reader.save("wrong")
    reader.press("Enter")
    reader.expect_said(f"Item {number}: wrong. {number} of 60.")


def _mend(reader: ReadingPage, number: int) -> None:
    reader.press("e")
    reader.expect_typing("category")
    reader.press("Control+Enter")
    reader.expect_text(f"Nothing was changed in item {number}.")
    reader.expect_typing("category")
    reader.press("End")
    reader.tab_to("summary")
    reader.press("Control+a")
    reader.type("Mended by hand.")
    reader.save("edit")
    reader.tab_to("Save the correction")
    reader.press("Enter")
    reader.expect_said(f"Item {number}: corrected. {number} of 60.")
