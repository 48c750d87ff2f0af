"""What a retry releases joins what left before at a file, or is refused: no release is lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from overnight.approve import find_continued, find_held, find_retried_before, find_standing
from overnight.deliver import deliver_release, describe_sink
from overnight.deliver.recall import recall_release
from overnight.failures import ApprovalRefused
from overnight.ledger.queries import summarize
from overnight.ledger.releases import find_release
from overnight.ledger.retries import find_left, find_offered
from overnight.ledger.runs import set_state
from overnight.records import Release, RunState
from tests.conftest import DATABASES, RUN, House


def _offer(house: House, run_id: str, *texts: str, held_of: Release | None = None, first: int = 11) -> Release:
    """What a retry offers: these texts, as rows r11, r12, …, which the night did not offer."""
    continues = None if held_of else _continue(house, run_id)
    return _offer_rows(house, run_id, *texts, held_of=held_of, continues=continues, first=first)


def _offer_rows(house: House, run_id: str, *texts: str, first: int, sink: str | None = None, **of: Any) -> Release:
    prompt = house.make_prompt()
    return house.offer_checked([house.check(texts, prompt, first=first)], prompt, run_id=run_id, sink=sink, **of)


def _deliver(house: House, release: Release, **verdicts: str) -> None:
    deliver_release(house.approve(release, **verdicts), ledger=house.ledger, settings=house.settings)


def _quotes(path: Path) -> list[str]:
    return [orjson.loads(line)["quote"] for line in path.read_text().splitlines()]


def _continue(house: House, run_id: str | None = None) -> str | None:
    return find_continued(house.ledger, RUN, describe_sink(house.sink, house.settings), run_id=run_id)


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
    second = _offer(house, "retry-2", "again", "doubtful", first=21)
    _deliver(house, second, r22="wrong")
    held = find_held(house.ledger, "retry-2", house.sink)
    assert held is not None
    _deliver(house, _offer(house, "retry-2", "again", "doubtful", held_of=held, first=21))
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


def test_while_a_retry_waits_for_the_file_what_was_held_of_the_night_is_not_offered_there(delivered: House) -> None:
    house = delivered
    held_of = find_held(house.ledger, RUN, house.sink)
    assert held_of is not None
    house.begin("retry-1", retries=RUN)
    retried = _offer(house, "retry-1", "mended")
    night = ["text 1", "text 2", "text 3"]
    with pytest.raises(ApprovalRefused, match=f"Release {retried.release_id} of run retry-1 is still to be delivered"):
        _offer_rows(house, RUN, *night, held_of=held_of, first=1)
    _deliver(house, retried)
    assert _quotes(house.out) == ["text 1", "text 2", "mended"]
    with pytest.raises(ApprovalRefused, match=f"holds release {retried.release_id} since"):
        _offer_rows(house, RUN, *night, held_of=held_of, first=1)
    assert _quotes(house.out) == ["text 1", "text 2", "mended"]


def test_of_two_retries_at_one_file_the_second_is_refused_before_anybody_reviews_it(delivered: House) -> None:
    house = delivered
    house.begin("retry-1", retries=RUN)
    house.begin("retry-2", retries=RUN)
    early = _continue(house, "retry-2")
    first = _offer(house, "retry-1", "mended")
    assert early is not None
    with pytest.raises(ApprovalRefused, match=f"Release {first.release_id} of run retry-1 is still to be delivered"):
        _continue(house, "retry-2")
    # Also where both began before either was offered: nothing is recorded that would be stranded.
    with pytest.raises(ApprovalRefused, match=f"Release {first.release_id} of run retry-1 is still to be delivered"):
        _offer_rows(house, "retry-2", "other", continues=early, first=21)
    _deliver(house, first)
    with pytest.raises(ApprovalRefused, match=f"holds release {first.release_id} since"):
        _offer_rows(house, "retry-2", "other", continues=early, first=21)
    with house.ledger.reading() as connection:
        assert find_release(connection, "retry-2") is None
    _deliver(house, _offer(house, "retry-2", "other", first=21))
    assert _quotes(house.out) == ["text 1", "text 2", "mended", "other"]


def test_a_retry_that_waits_is_offered_again_as_it_was(delivered: House) -> None:
    delivered.begin("retry-1", retries=RUN)
    assert _offer(delivered, "retry-1", "mended").release_id == _offer(delivered, "retry-1", "mended").release_id


@pytest.mark.parametrize("database", DATABASES)
def test_a_row_that_one_run_of_a_family_has_offered_no_other_offers_unless_it_was_rejected(house: House) -> None:
    house.begin()
    for run_id, retried in (("retry-1", RUN), ("retry-2", "retry-1"), ("retry-3", RUN)):
        house.begin(run_id, retries=retried)
    first = _offer_rows(house, "retry-1", "mended", first=11)
    for other in ("retry-2", "retry-3", RUN):
        with pytest.raises(ApprovalRefused, match=f"Rows r11 of run {other} were offered by run retry-1 meanwhile"):
            _offer_rows(house, other, "mended", first=11, sink=f"file:{house.home / other}.jsonl")
    with house.ledger.reading() as connection:
        assert find_left(connection, RUN) == find_left(connection, "retry-2") == {"r11": "retry-1"}
        assert find_left(connection, "retry-1") == find_left(connection, RUN, prompt="another") == {}
    house.decide(first, house.answer(first, "reject"))
    again = _offer_rows(house, "retry-3", "mended", first=11, sink=f"file:{house.home}/other.jsonl")
    assert again.n_rows == 1
    # A run of another family is no matter.
    assert _offer_rows(house, house.begin("night-2"), "mended", first=11).n_rows == 1


@pytest.mark.parametrize("database", DATABASES)
def test_of_two_runs_that_offer_a_row_at_once_one_is_refused(house: House) -> None:
    house.begin()
    names, both = ["retry-1", "retry-2"], threading.Barrier(2)
    for name in names:
        house.begin(name, retries=RUN)

    def offer(name: str) -> bool:
        both.wait()
        try:
            _offer_rows(house, name, "mended", first=11, sink=f"file:{house.home / name}.jsonl")
        except ApprovalRefused:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(offer, names)) == [False, True]


def test_a_row_that_left_stays_its_run_s_though_what_that_run_held_was_rejected(delivered: House) -> None:
    house = delivered
    house.begin("retry-1", retries=RUN)
    _deliver(house, _offer(house, "retry-1", "mended", "doubtful"), r12="wrong")
    held = find_held(house.ledger, "retry-1", house.sink)
    assert held is not None
    release = _offer(house, "retry-1", "mended", "doubtful", held_of=held)
    house.decide(release, house.answer(release, "reject"))
    house.ledger.write(lambda connection: set_state(connection, "retry-1", RunState.REJECTED))
    with house.ledger.reading() as connection:
        assert find_offered(connection, RUN) == {"r11": "retry-1", "r12": "retry-1"}


def test_a_night_joins_what_its_retry_has_at_the_file(house: House) -> None:
    house.begin()
    house.begin("retry-1", retries=RUN)
    retried, facts = _offer(house, "retry-1", "mended"), describe_sink(house.sink, house.settings)
    with pytest.raises(ApprovalRefused, match="of run retry-1 is still to be delivered"):
        find_retried_before(house.ledger, RUN, facts)
    with pytest.raises(ApprovalRefused, match="of run retry-1 is still to be delivered"):
        house.offer(2)
    _deliver(house, retried)
    with pytest.raises(ApprovalRefused, match=f"holds release {retried.release_id} since"):
        house.offer(2)
    continues = find_retried_before(house.ledger, RUN, facts)
    assert continues == retried.release_id
    _deliver(house, _offer_rows(house, RUN, "text 1", "text 2", continues=continues, first=1))
    assert _quotes(house.out) == ["mended", "text 1", "text 2"]
    # A night without a retry there takes the place of what is there.
    house.begin("night-2")
    assert find_retried_before(house.ledger, "night-2", facts) is None


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
