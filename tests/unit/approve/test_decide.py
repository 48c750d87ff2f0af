from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import orjson
import pytest

from overnight.approve import Answers, Decision, decide, find_standing, parse_answers, record_refusal
from overnight.approve.judge import Judged, judge
from overnight.approve.verdicts import write_verdict
from overnight.deliver import deliver_release
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_held_positions
from overnight.ledger.draws import SEED, find_draw, find_drawn
from overnight.ledger.queries import summarize
from overnight.ledger.releases import find_prompt_of, find_release, find_release_rows
from overnight.ledger.reviews import RowVerdict, find_doubted, record_verdicts
from overnight.records import Approval, Release, RunState
from tests.conftest import RUN, House
from tests.honest import find_seeds


def _held(house: House, approval: Approval) -> dict[int, str]:
    with house.ledger.reading() as connection:
        return find_held_positions(connection, approval.approval_id)


def _refused(house: House, release: Release, data: dict[str, Any]) -> str:
    with pytest.raises(ReviewRefused) as caught:
        house.decide(release, parse_answers(data))
    assert "\n" not in str(caught.value)
    assert house.fetch("SELECT * FROM approvals") == []
    return str(caught.value)


def _filled(house: House, release: Release, **changes: Any) -> dict[str, Any]:
    return house.answer(release).model_dump() | changes


def _find_read(house: House, release: Release, *strata: str) -> dict[int, str]:
    """The positions whose rows are shown, for one of these reasons or any, with their ids."""
    with house.ledger.reading() as connection:
        drawn = find_drawn(connection, release.release_id, release.round).values()
        rows = find_release_rows(connection, release.release_id)
    return {
        d.position: rows[d.position].row_id for d in drawn if d.stratum != SEED and d.stratum in (strata or {d.stratum})
    }


def test_an_approval_covers_its_release_and_sink_for_a_time(house: House) -> None:
    release, now = house.offer(3, approval_s=60.0), time.time()
    approval = house.approve(release)
    assert (approval.run_id, approval.release_id, approval.sink) == (RUN, release.release_id, house.sink)
    assert (approval.release_digest, approval.n_allowed, approval.n_held) == (release.digest, 3, 0)
    assert (approval.reviewer, approval.state) == ("Ada", "approved")
    assert now + 60 <= approval.expires_at.timestamp() <= time.time() + 60


def test_rows_marked_wrong_or_unsure_are_held(house: House) -> None:
    approval = house.approve(house.offer(4), r2="wrong", r4="unsure")
    assert _held(house, approval) == {1: "wrong", 3: "unsure"}
    assert (approval.n_allowed, approval.n_held) == (2, 2)


def test_unread_rows_leave_where_all_that_was_read_is_correct(house: House) -> None:
    release = house.offer(40)
    assert len(_find_read(house, release)) < 40
    approval = house.approve(release)
    assert (approval.n_allowed, approval.n_held) == (40, 0)


@pytest.mark.parametrize("verdict", ["wrong", "unsure"])
def test_one_row_that_is_not_correct_lets_nothing_leave_until_more_is_read(house: House, verdict: Any) -> None:
    release = house.offer(40)
    called = next(iter(_find_read(house, release, "random").values()))
    decision = house.submit(release, house.answer(release, **{called: verdict}))
    assert (decision.outcome, decision.is_final, decision.approval) == ("more", False, None)
    assert house.fetch("SELECT * FROM approvals") == []
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is None


@pytest.mark.parametrize("verdict", ["wrong", "unsure"])
def test_rows_that_nobody_read_are_held_where_the_reviewer_says_so(house: House, verdict: Any) -> None:
    release = house.offer(40)
    read = _find_read(house, release)
    at, called = next(iter(read.items()))
    approval = house.decide(release, house.answer(release, "hold", **{called: verdict}))
    assert isinstance(approval, Approval)
    assert _held(house, approval) == dict.fromkeys(set(range(40)) - set(read), "unread") | {at: verdict}
    assert (approval.n_allowed, approval.n_held) == (len(read) - 1, 41 - len(read))


def test_a_release_of_which_no_row_is_correct_is_held(house: House) -> None:
    release = house.offer(2)
    assert house.decide(release, house.answer(release, r1="wrong", r2="unsure")) is RunState.HELD
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is RunState.HELD
    assert house.fetch("SELECT * FROM approvals") == []


def test_a_rejected_release_stays_rejected(house: House) -> None:
    release = house.offer(2)
    answers = house.answer(release)
    assert house.decide(release, house.answer(release, "reject")) is RunState.REJECTED
    with pytest.raises(ReviewRefused, match=f"Release {release.release_id} was rejected by Ada already"):
        house.submit(release, answers)
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is RunState.REJECTED


def test_a_second_decision_is_refused_by_name(house: House) -> None:
    release = house.offer(2)
    house.approve(release)
    with pytest.raises(ReviewRefused, match=f"Release {release.release_id} was approved by Ada already"):
        house.submit(release, house.answer(release, "reject"))


def test_of_two_reviewers_at_once_one_decides(house: House) -> None:
    release, together = house.offer(20), threading.Barrier(2)
    answers = house.answer(release)

    def take(ledger: Ledger) -> Decision | ReviewRefused:
        together.wait(10)
        try:
            return decide(
                release,
                answers,
                channel="file",
                ledger=ledger,
                key_file=house.settings.approval_key,
                now=time.time(),
            )
        except ReviewRefused as error:
            return error

    # Two ledgers: as two processes.
    with closing(Ledger(house.ledger.url)) as other, ThreadPoolExecutor() as pool:
        found = list(pool.map(take, [house.ledger, other]))
    assert {type(f) for f in found} == {Decision, ReviewRefused}
    assert house.fetch("SELECT count(*) FROM approvals") == [(1,)]


def test_every_item_needs_a_verdict(house: House) -> None:
    release = house.offer(3)
    said = _refused(house, release, _filled(house, release, items={1: "correct", 3: "correct"}))
    assert said.startswith(f"Item 2 of release {release.release_id} has no verdict")


def test_an_item_that_was_not_shown_takes_no_verdict(house: House) -> None:
    release = house.offer(1)
    said = _refused(house, release, _filled(house, release, items=house.answer(release).items | {99: "correct"}))
    assert said.startswith(f"Item 99 was not shown for release {release.release_id}")


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_rejection_needs_a_reason(house: House, reason: str) -> None:
    release = house.offer(1)
    said = _refused(house, release, _filled(house, release, decision="reject", reason=reason))
    assert "is rejected without a reason" in said


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"items": {"one": "correct"}}, "items.one"),
        ({"items": {"01": "correct"}}, "items.01"),
        ({"decision": "approve"}, "decision"),
        ({"reason": "x" * 2001}, "reason"),
        ({"approved": True}, "approved"),
        ({"a\nb": True}, r"a\nb"),
    ],
)
def test_a_field_with_a_value_that_is_not_offered_is_refused_by_its_place(
    house: House, changes: dict[str, Any], where: str
) -> None:
    release = house.offer(1)
    assert f"do not fit at {where}" in _refused(house, release, _filled(house, release, **changes))


@pytest.mark.parametrize(
    "verdict",
    ["fine", "", None, 3, True, [], {}, {"wrong": 3}, {"wrong": "so", "corrected": {"label": "red"}}, {"corrected": 3}],
)
def test_a_verdict_that_is_none_is_told_what_there_is(house: House, verdict: Any) -> None:
    release = house.offer(2)
    said = _refused(house, release, _filled(house, release, items=house.answer(release).items | {2: verdict}))
    assert said == (
        'The verdict on item 2 is none: give "correct", "wrong", "unsure", {"wrong": "why"} or {"corrected": {fields}}.'
    )


def test_a_correction_of_no_field_is_told_that_it_changes_nothing(house: House) -> None:
    release = house.offer(2)
    assert "The correction of item 2 changes nothing" in _refused(
        house, release, _filled(house, release, items=house.answer(release).items | {2: {"corrected": {}}})
    )


def _nest(n: int) -> Any:
    return [_nest(n - 1)] if n else []


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, [2**200], float("nan"), float("inf"), "\ud800", {"\ud800": 1}, {1: 1}, _nest(300)]
)
def test_a_correction_that_cannot_be_recorded_is_refused_by_its_item(house: House, value: Any) -> None:
    release = house.offer(2)
    items = house.answer(release).items | {2: {"corrected": {"label": value}}}
    assert "The correction of item 2 cannot be recorded" in _refused(
        house, release, _filled(house, release, items=items)
    )


@pytest.mark.parametrize("character", ["\0", "\ud800"])
@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (lambda text: {"reviewer": text}, "fit at reviewer: "),
        (lambda text: {"reason": text}, "fit at reason: "),
        (lambda text: {"items": {1: {"wrong": text}}}, "The verdict on item 1 holds "),
    ],
)
def test_a_character_that_a_ledger_does_not_bear_is_refused_in_one_line(
    house: House, character: str, changes: Any, where: str
) -> None:
    release = house.offer(1)
    said = _refused(house, release, _filled(house, release, **changes(f"so{character}so")))
    assert f"{where}a character that a ledger does not bear" in said


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"3",
        b"null",
        b"{",
        b"\xff",
        b'{"seconds": NaN}',
        b'{"seconds": -Infinity}',
        b"[" * 100_000,
        b'{"seconds": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda data: data[:20],
)
def test_what_is_no_json_object_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ReviewRefused, match=r"^The answers are no JSON object \(.+\)\. Mend them") as caught:
        parse_answers(data, reviewer="Ada")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'{"decision": "release", "items": {"1": "correct", "2": "wrong", "2": "correct"}}', "Item 2"),
        (b'{"decision": "hold", "items": {"1": "correct"}, "decision": "release"}', '"decision"'),
        (b'{"decision": "hold", "items": {"1": {"corrected": {"a\\nb": 1, "a\\nb": 2}}}}', r'"a\nb"'),
    ],
)
def test_what_an_answers_file_says_twice_is_refused_by_its_name(data: bytes, what: str) -> None:
    with pytest.raises(ReviewRefused) as caught:
        parse_answers(data, reviewer="Ada")
    assert str(caught.value).startswith(f"{what} stands twice in the answers")
    assert "\n" not in str(caught.value)


def test_verdicts_of_every_kind_are_read_as_they_are_recorded() -> None:
    items = {
        "1": "correct",
        "2": "unsure",
        "3": {"wrong": "late"},
        "4": {"corrected": {"n": 2**64 - 1, "x": [1.5, None]}},
    }
    given = parse_answers(orjson.dumps({"decision": "release", "reviewer": "Ada", "items": items}))
    assert {str(n): write_verdict(v) for n, v in given.items.items()} == items
    assert parse_answers(given.model_dump()) == given


def _judge(house: House, release: Release, decision: Any, *, may_skip: bool) -> Judged:
    with house.ledger.reading() as connection:
        draw = find_draw(connection, release.release_id)
        schema = orjson.loads(find_prompt_of(connection, release.release_id).schema)
    assert draw is not None
    answers = Answers(decision=decision, reviewer="Ada", items={})
    return judge(release, answers, draw, schema, may_skip=may_skip)


def test_who_holds_what_is_left_need_not_read_another_round(house: House) -> None:
    judged = _judge(house, house.offer(40), "hold", may_skip=True)
    assert (judged.verdicts, judged.n_seeds, judged.missed, judged.is_read) == ({}, 0, (), True)


@pytest.mark.parametrize(("decision", "may_skip"), [("hold", False), ("release", True), ("release", False)])
def test_nobody_else_goes_without_reading(house: House, decision: str, *, may_skip: bool) -> None:
    with pytest.raises(ReviewRefused, match=r"Item 1 of release .* has no verdict"):
        _judge(house, house.offer(40), decision, may_skip=may_skip)


@pytest.mark.parametrize("reviewer", [" ", None])
def test_answers_without_a_reviewer_say_how_to_name_one(house: House, reviewer: str | None) -> None:
    release = house.offer(1)
    assert "Give --reviewer NAME" in _refused(house, release, _filled(house, release, reviewer=reviewer))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"decision": "release"}', b"\xff"])
def test_answers_that_are_not_a_review_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ReviewRefused) as caught:
        parse_answers(data, reviewer="Ada")
    assert "\n" not in str(caught.value)


def test_a_reviewer_named_on_the_command_line_is_the_reviewer() -> None:
    data = b'{"decision": "release", "items": {"1": "correct"}}'
    assert parse_answers(data, reviewer="Ada").items == {1: "correct"}
    assert parse_answers(data, reviewer="Ada").reviewer == "Ada"


def test_a_release_that_was_replaced_is_not_decided(house: House) -> None:
    earlier = house.offer(1, now=1.0)
    house.offer(2, now=2.0)
    with pytest.raises(ReviewRefused, match=f"Release {earlier.release_id} has been replaced by another"):
        house.submit(earlier, house.answer(earlier))


def test_a_release_that_was_made_up_is_not_decided(house: House) -> None:
    release = house.offer(1)
    with pytest.raises(ReviewRefused, match="replaced"):
        house.submit(replace(release, release_id="made-up", digest="0" * 64), house.answer(release))
    assert house.fetch("SELECT * FROM approvals") == []


def _read(verdicts: str) -> dict[int, str]:
    return {int(item): verdict for item, verdict in orjson.loads(verdicts).items()}


def test_what_a_reviewer_answered_is_recorded_whatever_came_of_it(house: House) -> None:
    release = house.offer(20)
    refused = _filled(house, release, decision="reject", reason="")
    record_refusal(release, refused, ReviewRefused("no reason"), ledger=house.ledger, now=1.0)
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is None
    with house.ledger.reading() as connection:
        again = find_release(connection, RUN, house.sink)
    assert again == replace(release, round=1)
    answers = house.answer(again, "hold")
    decision = house.submit(again, answers)
    query = "SELECT round, decision, outcome, detail, verdicts FROM review_answers ORDER BY round"
    assert [(*row, _read(verdicts)) for *row, verdicts in house.fetch(query)] == [
        (0, "reject", "refused", "no reason", refused["items"]),
        (1, "hold", "approved", decision.words, answers.items),
    ]


def test_a_run_without_a_release_for_the_sink_has_no_standing(house: House) -> None:
    house.approve(house.offer(1))
    assert find_standing(house.ledger, RUN, "file:/elsewhere.jsonl", now=1.0) is None
    assert find_standing(house.ledger, "night-2", house.sink, now=1.0) is None


def test_a_standing_approval_is_the_recorded_one(house: House) -> None:
    release = house.offer(1)
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is None
    approval = house.approve(release)
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) == approval


def test_verdicts_are_kept_by_the_row_s_delivery_key(house: House) -> None:
    release = house.offer(3)
    house.approve(release, r2="wrong")
    query = "SELECT row_id, verdict FROM verdicts JOIN release_rows USING (release_id, delivery_key) ORDER BY row_id"
    assert house.fetch(query) == [("r1", "correct"), ("r2", "wrong"), ("r3", "correct")]
    assert house.fetch("SELECT DISTINCT round FROM verdicts ORDER BY round") == [(0,), (1,)]


def _call_all(house: House, release: Release, verdict: str) -> None:
    """The same verdict on every row, as many reviews come to."""
    with house.ledger.reading() as connection:
        rows = find_release_rows(connection, release.release_id)
    given = [RowVerdict(number, row.delivery_key, verdict) for number, row in enumerate(rows, 1)]
    house.ledger.write(lambda c: record_verdicts(c, release.release_id, 0, given, 1.0))


@pytest.mark.parametrize("verdict", ["wrong", "unsure", "corrected"])
def test_a_row_called_wrong_before_is_held_when_nobody_reads_it_now(house: House, verdict: str) -> None:
    _call_all(house, house.offer(43, now=1.0), verdict)
    release = house.offer(40, now=2.0)
    read = _find_read(house, release)
    assert _held(house, house.approve(release)) == dict.fromkeys(set(range(40)) - set(read), "doubted") != {}
    # Whatever was read this time is doubted no more.
    with house.ledger.reading() as connection:
        rows, doubted = find_release_rows(connection, release.release_id), find_doubted(connection)
    assert {r.position for r in rows if r.delivery_key not in doubted} == set(read)


def test_a_row_that_is_found_correct_later_is_doubted_no_more(house: House) -> None:
    first = house.offer(2, now=1.0)
    assert house.decide(first, house.answer(first, r1="wrong", r2="unsure")) is RunState.HELD
    house.approve(house.offer(3, now=2.0))
    with house.ledger.reading() as connection:
        assert find_doubted(connection) == set()


def test_what_a_rejected_release_was_called_is_remembered(house: House) -> None:
    release = house.offer(2)
    called = next(iter(_find_read(house, release).values()))
    house.decide(release, house.answer(release, "reject", **{called: "wrong"}))
    with house.ledger.reading() as connection:
        assert len(find_doubted(connection)) == 1


def test_answers_that_are_refused_leave_no_verdict(house: House) -> None:
    release = house.offer(2)
    _refused(house, release, _filled(house, release, items={1: "wrong"}))
    assert house.fetch("SELECT * FROM verdicts") == []


def test_an_approval_that_expired_unused_does_not_stand_and_is_asked_for_again(house: House) -> None:
    release = house.offer(20, approval_s=60.0)
    seeds = find_seeds(house.ledger, release)
    one = next(i.row_id for i in release.items if i.item not in seeds)
    expired = house.decide(release, house.answer(release, "hold", **{one: "wrong"}))
    assert isinstance(expired, Approval)
    assert find_standing(house.ledger, RUN, house.sink, now=expired.expires_at.timestamp() - 1) == expired
    assert find_standing(house.ledger, RUN, house.sink, now=expired.expires_at.timestamp()) is None
    later = expired.expires_at.timestamp() + 1
    again = house.open_round(release)
    renewed = house.submit(again, house.answer(again, "hold"), now=later).approval
    assert renewed is not None
    assert find_standing(house.ledger, RUN, house.sink, now=later) == renewed != expired
    assert house.fetch("SELECT round, outcome FROM review_answers ORDER BY round") == [(0, "approved"), (1, "approved")]
    # Held once, not once an approval; and what the first round said of a row is not held against it any more.
    assert "wrong" not in _held(house, renewed).values()
    with house.ledger.reading() as connection:
        assert summarize(connection, RUN, later).held == renewed.n_held


def test_of_two_approvals_the_later_round_counts_though_the_clock_was_set_back(house: House) -> None:
    release = house.offer(20, approval_s=60.0)
    house.approve(release)
    # A minute and more has gone by, by the clock that nobody sets.
    house.tamper("UPDATE approvals SET issued_mark = issued_mark - 100")
    back = time.time() - 3600.0
    again = house.open_round(release)
    renewed = house.submit(again, house.answer(again), now=back).approval
    assert renewed is not None
    assert find_standing(house.ledger, RUN, house.sink, now=back) == renewed


def test_an_approval_that_was_used_stands_for_good(house: House) -> None:
    approval = house.approve(house.offer(2, approval_s=60.0))
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    standing = find_standing(house.ledger, RUN, house.sink, now=approval.expires_at.timestamp() + 1)
    assert standing == replace(approval, state="consumed")
