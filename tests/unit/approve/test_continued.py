"""What a retry releases joins what left before at a file, or is refused: no release is lost."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from overnight.approve import find_continued, find_held, find_standing
from overnight.deliver import deliver_release, describe_sink
from overnight.deliver.recall import recall_release
from overnight.failures import ApprovalRefused
from overnight.ledger.queries import summarize
from overnight.ledger.releases import find_release
from overnight.records import Release, RunState
from tests.conftest import RUN, House


def _offer(house: House, run_id: str, *texts: str, held_of: Release | None = None) -> Release:
    """What a retry offers: these texts, as rows of its own."""
    prompt = house.make_prompt()
    checked = house.check(texts, prompt)
    facts = describe_sink(house.sink, house.settings)
    continues = None if held_of else find_continued(house.ledger, RUN, facts)
    return house.offer_checked([checked], prompt, run_id=run_id, held_of=held_of, continues=continues)


def _deliver(house: House, release: Release, **verdicts: str) -> None:
    deliver_release(house.approve(release, **verdicts), ledger=house.ledger, settings=house.settings)


def _quotes(path: Path) -> list[str]:
    return [orjson.loads(line)["quote"] for line in path.read_text().splitlines()]


def _continue(house: House) -> str | None:
    return find_continued(house.ledger, RUN, describe_sink(house.sink, house.settings))


@pytest.fixture
def delivered(house: House) -> House:
    """Two of three rows of a night are in the file, the third is held."""
    _deliver(house, house.offer(3), r3="wrong")
    return house


def test_retried_rows_join_those_that_left_and_a_recall_takes_them_alone_back(delivered: House) -> None:
    house = delivered
    house.begin("retry-1", retries=RUN)
    release = _offer(house, "retry-1", "mended")
    _deliver(house, release)
    assert _quotes(house.out) == ["text 1", "text 2", "mended"]
    # A retry of the retry goes on from there, and one that holds rows back offers them later.
    house.begin("retry-2", retries="retry-1")
    second = _offer(house, "retry-2", "again", "doubtful")
    _deliver(house, second, r2="wrong")
    held = find_held(house.ledger, "retry-2", house.sink)
    assert held is not None
    _deliver(house, _offer(house, "retry-2", "again", "doubtful", held_of=held))
    assert _quotes(house.out) == ["text 1", "text 2", "mended", "again", "doubtful"]
    with pytest.raises(ApprovalRefused, match="Recall that one first"):
        recall_release(release.release_id, by="Ada", reason="no", ledger=house.ledger, settings=house.settings)
    with house.ledger.reading() as connection:
        last = find_release(connection, "retry-2")
        night, retry = (summarize(connection, run, 2.0) for run in (RUN, "retry-1"))
    assert last is not None
    recall_release(last.release_id, by="Ada", reason="no", ledger=house.ledger, settings=house.settings)
    assert _quotes(house.out) == ["text 1", "text 2", "mended", "again"]
    # The books are each run's own.
    assert (night.published, night.held) == (2, 1)
    assert (retry.published, retry.held) == (1, 0)


def test_a_rejected_retry_is_rejected_though_what_it_would_join_was_approved(delivered: House) -> None:
    house = delivered
    house.begin("retry-1", retries=RUN)
    release = _offer(house, "retry-1", "mended")
    assert house.decide(release, house.answer(release, "reject")) == RunState.REJECTED
    assert find_standing(house.ledger, "retry-1", house.sink, now=time.time()) == RunState.REJECTED
    assert _quotes(house.out) == ["text 1", "text 2"]


def test_of_two_releases_that_would_join_the_same_file_the_second_loses_nothing(delivered: House) -> None:
    house = delivered
    held_of = find_held(house.ledger, RUN, house.sink)
    assert held_of is not None
    house.begin("retry-1", retries=RUN)
    retried = _offer(house, "retry-1", "mended")
    prompt = house.make_prompt()
    held = house.offer_checked(
        [house.check([f"text {n}" for n in (1, 2, 3)], prompt)], prompt, run_id=RUN, held_of=held_of
    )
    with pytest.raises(ApprovalRefused, match=f"Release {held.release_id} of run {RUN} is still to be delivered"):
        _continue(house)
    _deliver(house, retried)
    assert _quotes(house.out) == ["text 1", "text 2", "mended"]
    with pytest.raises(ApprovalRefused, match=f"it holds release {retried.release_id} since"):
        _deliver(house, held)
    assert _quotes(house.out) == ["text 1", "text 2", "mended"]


def test_a_retry_does_not_take_the_place_of_another_night(delivered: House) -> None:
    house = delivered
    _deliver(house, house.offer(2, run_id="night-2"))
    with pytest.raises(ApprovalRefused, match=r"is not of run night-1, .* another --sink"):
        _continue(house)


def test_where_nothing_stands_a_retry_stands_by_itself(house: House) -> None:
    house.begin()
    house.begin("retry-1", retries=RUN)
    assert _continue(house) is None
    _deliver(house, _offer(house, "retry-1", "mended"))
    assert _quotes(house.out) == ["mended"]


def test_at_a_sink_that_keeps_each_release_apart_nothing_is_joined(house: House) -> None:
    house.begin()
    facts = describe_sink("http://127.0.0.1:9/in", house.settings)
    assert find_continued(house.ledger, RUN, facts) is None
