from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from overnight.failures import ReviewRefused
from overnight.keys import canonical_json, digest_bytes
from overnight.page.reading import ReaderRound
from tests.unit.page.conftest import find_outlook, make_release


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def begin(home: Path, clock: Clock) -> Callable[..., ReaderRound]:
    def make(**changes: object) -> ReaderRound:
        release = make_release(**changes)  # type: ignore[arg-type]
        return ReaderRound(release, find_outlook(release), home, clock=clock)

    return make


def _path(home: Path) -> Path:
    items = digest_bytes(canonical_json([asdict(item) for item in make_release().items]))
    return home / "reviews" / f"night-1-abc-{items[:12]}.json"


def test_a_draft_is_gone_on_with_in_the_order_of_its_verdicts(begin: Callable[..., ReaderRound], home: Path) -> None:
    first = begin()
    first.give(2, {"wrong": "no"})
    first.give(1, {"corrected": {"label": "green"}})
    assert stat.S_IMODE(_path(home).stat().st_mode) == 0o600
    second = begin()
    assert (second.fault, second.open, second.last, second.name(2)) == (None, [3], 1, "wrong")
    second.undo()
    assert begin().open == [1, 3]


def test_a_draft_goes_when_its_answers_were_taken(begin: Callable[..., ReaderRound], home: Path) -> None:
    reading = begin()
    reading.give(1, "correct")
    reading.close()
    assert list((home / "reviews").iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"version": 2}',
        b'{"version": 1, "release": "night-1-abc", "items": "x", "verdicts": [[1, "fine"]], "seconds": {}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_draft_is_left_aside_in_words(begin: Callable[..., ReaderRound], home: Path, damage: bytes) -> None:
    _path(home).parent.mkdir()
    _path(home).write_bytes(damage)
    reading = begin()
    assert reading.fault
    assert "is not used: it is damaged" in reading.fault
    reading.give(1, "correct")
    again = begin()
    assert (again.fault, again.open) == (None, [2, 3])


def test_a_draft_of_other_items_is_not_taken_for_these(begin: Callable[..., ReaderRound]) -> None:
    begin().give(1, "correct")
    other = begin(body="Another text.")
    assert (other.verdicts, other.fault) == ({}, None)
    other.give(2, "unsure")
    assert (begin().open, begin(body="Another text.").open) == ([2, 3], [1, 3])


def test_a_draft_is_of_its_items_in_whichever_round_they_are_shown(begin: Callable[..., ReaderRound]) -> None:
    begin().give(1, {"wrong": "no"})
    again = begin(round=1)
    assert (again.name(1), again.open, again.fault) == ("wrong", [2, 3], None)


def test_a_draft_that_was_put_in_anothers_place_is_left_aside(begin: Callable[..., ReaderRound], home: Path) -> None:
    begin(body="Another text.").give(1, "correct")
    [other] = (home / "reviews").iterdir()
    other.rename(_path(home))
    assert "it is of other items" in (begin().fault or "")


def test_a_draft_with_an_item_that_was_not_shown_is_not_taken(begin: Callable[..., ReaderRound], home: Path) -> None:
    begin().give(1, "correct")
    kept = orjson.loads(_path(home).read_bytes())
    _path(home).write_bytes(orjson.dumps(kept | {"verdicts": [[9, "correct"]]}))
    assert begin().verdicts == {}


def test_verdicts_stand_where_no_draft_can_be_written(begin: Callable[..., ReaderRound], home: Path) -> None:
    (home / "reviews").write_text("a file where the folder would be")
    reading = begin()
    reading.give(1, "correct")
    assert reading.name(1) == "correct"
    assert reading.fault
    assert "cannot be written" in reading.fault


def test_a_runs_name_leads_to_no_other_folder(begin: Callable[..., ReaderRound], home: Path) -> None:
    begin(release_id="../../up").give(1, "correct")
    [path] = (home / "reviews").iterdir()
    assert path.name.startswith("..%2F..%2Fup-")


@pytest.mark.parametrize("verdict", [{"wrong": ""}, {"wrong": "x" * 2001}, {"wrong": "\udcff"}])
def test_a_verdict_that_the_answers_could_not_hold_is_refused_at_once(
    begin: Callable[..., ReaderRound], verdict: dict[str, str]
) -> None:
    reading = begin()
    reading.give(1, "unsure")
    with pytest.raises(ReviewRefused):
        reading.give(1, verdict)
    assert reading.name(1) == "unsure"


@pytest.mark.parametrize(
    ("passed_s", "measured_s", "counted_s"),
    [(10.0, None, 10.0), (10.0, 4.0, 4.0), (10.0, 99.0, 10.0), (1000.0, None, 300.0), (1000.0, 900.0, 300.0)],
)
def test_the_seconds_of_an_item_are_those_that_it_was_seen(
    begin: Callable[..., ReaderRound], clock: Clock, passed_s: float, measured_s: float | None, counted_s: float
) -> None:
    reading = begin()
    reading.show(1)
    clock.now += passed_s
    reading.spend(1, measured_s)
    assert reading.seconds == counted_s


def test_an_item_that_was_never_shown_took_no_time(begin: Callable[..., ReaderRound]) -> None:
    reading = begin()
    reading.spend(1, 60.0)
    assert reading.seconds == 0.0
