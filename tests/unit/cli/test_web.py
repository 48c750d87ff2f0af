from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from overnight.cli.sitting import describe_end, sit_down
from overnight.cli.web import read_on_page
from overnight.failures import ReviewRefused
from overnight.records import Release
from tests.conftest import RUN, House
from tests.unit.page.conftest import open_client


class _Visitor:
    """Visits the page once its address is told, and does so from another thread."""

    def __init__(
        self,
        *posts: tuple[str, dict[str, str]],
        meanwhile: Callable[[], object] = lambda: None,
        then_interrupts: bool = False,
    ) -> None:
        self._posts, self._meanwhile, self._then_interrupts = posts, meanwhile, then_interrupts
        self.texts: list[str] = []
        self._thread: threading.Thread | None = None

    def __call__(self, url: str) -> None:
        self.url = url
        self._thread = threading.Thread(target=self._visit)
        self._thread.start()

    def _visit(self) -> None:
        place = urlsplit(self.url)
        with open_client(f"http://{place.netloc}", follow_redirects=True) as client:
            self.texts.append(client.get(f"/?{place.query}").text)
            self._meanwhile()
            self.texts += [client.post(path, data=data | {"round": "0"}).text for path, data in self._posts]
            if self._then_interrupts:
                self.texts.append(client.get("/decision").text)
        if self._then_interrupts:
            os.kill(os.getpid(), signal.SIGINT)


def test_the_page_ends_once_the_browser_knows_the_decision(house: House) -> None:
    release = house.offer(5, n_seeds=1)
    visitor = _Visitor(("/decision", {"decision": "reject", "reviewer": "Ada", "reason": "The wrong night."}))
    decision = read_on_page(release, house.settings, house.ledger, tell=visitor)
    assert visitor.url.startswith("http://127.0.0.1:")
    assert "5 rows wait for your reading" in visitor.texts[0]
    assert "Nothing leaves." in visitor.texts[-1]
    assert decision.outcome == "rejected"
    assert house.fetch("SELECT channel, reviewer, outcome FROM review_answers") == [("page", "Ada", "rejected")]


def _reject(house: House, release: Release) -> None:
    house.submit(release, house.answer(release, "reject", reviewer="Ben"))


def test_a_run_that_was_decided_elsewhere_meanwhile_ends_the_page_and_its_line_says_so(house: House) -> None:
    release = house.offer(5, n_seeds=1)
    visitor = _Visitor(("/item/1", {"verdict": "correct"}), meanwhile=lambda: _reject(house, release))
    with pytest.raises(ReviewRefused, match="the verdicts of this page are not counted") as refused:
        read_on_page(release, house.settings, house.ledger, tell=visitor)
    assert f"Run {RUN} was decided elsewhere (rejected)" in str(refused.value)
    assert "The run was decided elsewhere: rejected." in visitor.texts[-1]


def test_a_page_that_is_closed_before_it_saw_the_decision_says_so_too(house: House) -> None:
    release = house.offer(5, n_seeds=1)
    review = sit_down(release, house.settings, house.ledger, channel="page", reviewer=None)
    assert f"0 of {len(release.items)} verdicts are kept as a draft. Go on: `it`." in describe_end(
        review, "It was closed", "it"
    )
    _reject(house, release)
    assert "was decided elsewhere (rejected)" in describe_end(review, "It was closed", "it")


def test_a_name_that_was_given_with_the_command_stands_in_the_form(house: House) -> None:
    visitor = _Visitor(then_interrupts=True)
    with pytest.raises(ReviewRefused):
        read_on_page(house.offer(5, n_seeds=1), house.settings, house.ledger, tell=visitor, reviewer="Grace")
    assert 'value="Grace"' in visitor.texts[-1]


def test_a_page_that_is_broken_off_keeps_the_draft_and_says_so(house: House) -> None:
    release = house.offer(5, n_seeds=1)
    with pytest.raises(ReviewRefused, match=f"1 of {len(release.items)} verdicts are kept as a draft") as refused:
        read_on_page(
            release,
            house.settings,
            house.ledger,
            tell=_Visitor(("/item/1", {"verdict": "correct"}), then_interrupts=True),
        )
    assert f"overnight review {RUN} --web" in str(refused.value)
    assert house.fetch("SELECT * FROM review_answers") == []
    visitor = _Visitor(then_interrupts=True)
    with pytest.raises(ReviewRefused):
        read_on_page(release, house.settings, house.ledger, tell=visitor)
    assert "Go on at item 2" in visitor.texts[0]
