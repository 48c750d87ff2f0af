from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import orjson
import pytest

from overnight.approve import offer_release
from overnight.approve.bounds import count_to_read
from overnight.approve.draw import N_RISK
from overnight.deliver import describe_sink
from overnight.failures import ApprovalRefused, SinkRefused
from overnight.keys import digest_bytes
from overnight.ledger.bodies import get_body
from overnight.ledger.draws import find_drawn
from overnight.ledger.manifests import record_batches
from overnight.ledger.releases import find_release_rows
from overnight.ledger.reviews import RowVerdict, record_verdicts
from overnight.records import CheckedBatch, Prompt, Release, ReviewItem, ReviewPolicy
from tests.conftest import RUN, House
from tests.honest import find_seeds

TEXTS = ["a red car", "a blue car"]


#: Each offer is later than the one before.
CLOCK = count(1.0)


def _offer(house: House, *checked: CheckedBatch, prompt: Prompt | None = None, sink: str | None = None) -> Release:
    house.begin()
    house.ledger.write(lambda c: record_batches(c, RUN, checked))
    return offer_release(
        list(checked),
        run_id=RUN,
        sink=describe_sink(sink or house.sink, house.settings),
        prompt=prompt or house.make_prompt(),
        ledger=house.ledger,
        place=house.home,
        policy=house.complete(ReviewPolicy()),
        now=next(CLOCK),
    )


def _list_rows(house: House, release: Release) -> list[ReviewItem]:
    """The items that are rows, not seeds."""
    seeds = find_seeds(house.ledger, release)
    return [i for i in release.items if i.item not in seeds]


def _find_shown(house: House, release: Release, stratum: str) -> set[int]:
    """The positions that are shown for this reason."""
    with house.ledger.reading() as connection:
        drawn = find_drawn(connection, release.release_id, release.round).values()
    return {d.position for d in drawn if d.stratum == stratum}


def test_the_same_rows_are_the_same_release(house: House) -> None:
    checked = house.check(TEXTS, house.make_prompt())
    assert _offer(house, checked) == _offer(house, checked)
    assert house.fetch("SELECT count(*) FROM releases") == [(1,)]
    assert house.fetch("SELECT count(*) FROM release_rows") == [(2,)]


def test_a_release_holds_the_exact_bytes_of_each_row(house: House) -> None:
    prompt = house.make_prompt()
    release = _offer(house, house.check(TEXTS, prompt))
    with house.ledger.reading() as connection:
        rows = find_release_rows(connection, release.release_id)
        sent = [orjson.loads(get_body(connection, row.payload)) for row in rows]
    assert [(r.position, r.row_id) for r in rows] == [(0, "r1"), (1, "r2")]
    assert [(s["row_id"], s["quote"]) for s in sent] == [("r1", "a red car"), ("r2", "a blue car")]
    assert {s["prompt_hash"] for s in sent} == {prompt.prompt_hash}
    assert [s["request_key"] for s in sent] == [r.request_key for r in rows]


def test_a_changed_row_sink_prompt_or_check_is_another_release(house: House) -> None:
    prompt, other_model = house.make_prompt(), house.make_prompt(model="openai:gpt-other")
    checked = house.check(TEXTS, prompt)
    warned = replace(
        house.check(TEXTS, house.make_prompt({"rule": "max_chars", "field": "quote", "limit": 60}), n=2), n=2
    )
    digests = {
        _offer(house, checked).digest,
        _offer(house, house.check(["a red car", "a blue bus"], prompt)).digest,
        _offer(house, house.check(TEXTS[::-1], prompt)).digest,
        _offer(house, checked, sink=f"file:{house.home / 'other.jsonl'}").digest,
        _offer(house, checked, prompt=other_model).digest,
        _offer(house, warned).digest,
    }
    assert len(digests) == 6


def test_two_ways_to_write_a_sink_are_one_release(house: House) -> None:
    checked = house.check(TEXTS, house.make_prompt())
    winding = f"file:{house.home}/sub/../out.jsonl"
    assert _offer(house, checked, sink=winding) == _offer(house, checked)


def test_a_sink_that_may_not_be_written_to_is_refused(house: House) -> None:
    with pytest.raises(SinkRefused):
        _offer(house, house.check(TEXTS, house.make_prompt()), sink="ftp://example.com/in")
    assert house.fetch("SELECT * FROM releases") == []


def test_a_batch_that_the_check_step_did_not_make_is_refused(house: House) -> None:
    checked = house.check(TEXTS, house.make_prompt())
    other = house.check(["a row that was never offered"], house.make_prompt(), n=2)
    forged = [
        replace(checked, n_accepted=99),
        replace(checked, n=7),
        replace(checked, part=other.part),
        replace(checked, checks_hash=digest_bytes(b"lax")),
    ]
    for batch in forged:
        with pytest.raises(ApprovalRefused, match=f"Batch {batch.n} was not made by the check step"):
            _offer(house, batch)
    assert house.fetch("SELECT * FROM releases") == []


def test_a_run_without_an_accepted_row_has_nothing_to_offer(house: House) -> None:
    with pytest.raises(ApprovalRefused, match=f"Run {RUN} has no accepted row to release"):
        _offer(house, house.check([], house.make_prompt()))


def test_of_few_rows_those_are_shown_that_no_seed_is_made_of(house: House) -> None:
    release = house.offer(5)
    assert sorted(i.row_id for i in release.items) == [f"r{n}" for n in range(1, 6)]
    assert len(_list_rows(house, release)) == 3
    assert [i.item for i in release.items] == list(range(1, len(release.items) + 1))


def test_of_many_rows_as_many_as_the_policy_takes_are_shown_and_the_same_each_time(house: House) -> None:
    first, again = house.offer(200, now=1.0), house.offer(200, now=2.0)
    shown = [i.row_id for i in _list_rows(house, first)]
    assert len(shown) == len(set(shown)) < 200
    assert len(_find_shown(house, first, "random")) == count_to_read(200, 0, 0.95, 0.1) == 26
    assert again.items == first.items


def test_another_release_shows_other_rows(house: House) -> None:
    one, other = house.offer(200, now=1.0), house.offer(201, now=2.0)
    assert {i.row_id for i in _list_rows(house, one)} != {i.row_id for i in _list_rows(house, other)}


def test_an_item_shows_what_was_asked_and_what_was_answered(house: House) -> None:
    [item] = _list_rows(house, house.offer(1))
    assert (item.input, item.output) == ({"body": "text 1"}, {"label": "red", "quote": "text 1"})


@pytest.mark.parametrize("verdict", ["wrong", "unsure"])
def test_a_row_that_was_called_wrong_or_unsure_before_is_always_shown(house: House, verdict: Any) -> None:
    first = house.offer(200, now=1.0)
    called = [i.row_id for i in _list_rows(house, first)[:3]]
    verdicts: dict[str, Any] = dict.fromkeys(called, verdict)
    house.decide(first, house.answer(first, "hold", **verdicts))
    for n_rows in range(201, 206):
        shown = {i.row_id for i in _list_rows(house, house.offer(n_rows, now=float(n_rows)))}
        assert set(called) < shown


def test_of_more_doubted_rows_than_can_be_shown_some_are_shown_beside_the_random_ones(house: House) -> None:
    first = house.offer(100, now=1.0)
    with house.ledger.reading() as connection:
        rows = find_release_rows(connection, first.release_id)
    given = [RowVerdict(number, row.delivery_key, "wrong") for number, row in enumerate(rows, 1)]
    house.ledger.write(lambda c: record_verdicts(c, first.release_id, 0, given, 1.0))
    again = house.offer(102, now=2.0)
    at_risk, at_random = _find_shown(house, again, "risk"), _find_shown(house, again, "random")
    assert (len(at_risk), at_risk < set(range(100)), at_risk & at_random) == (N_RISK, True, set())
    assert len(_list_rows(house, again)) == len(at_random) + N_RISK
