"""Rounds of a review: seeds that are missed, rows that have to be read besides, second readers, corrections, codes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest

from overnight.approve import Answers, Decision, find_standing, record_refusal
from overnight.approve.bounds import bound_bad, count_to_read
from overnight.deliver import deliver_release
from overnight.failures import ApprovalRefused, LedgerRefused, ReviewRefused
from overnight.ledger.draws import SEED, find_draw
from overnight.ledger.manifests import record_part
from overnight.ledger.reviews import find_doubted
from overnight.parts import read_part, write_part
from overnight.records import Approval, Release
from tests.conftest import RUN, House
from tests.honest import find_seeds


def _submit(
    house: House, release: Release, decision: str = "release", reviewer: str = "Ada", **verdicts: Any
) -> Decision:
    return house.submit(release, house.answer(release, decision, reviewer=reviewer, **verdicts))


def _finish(house: House, release: Release, decision: str = "release", **verdicts: Any) -> Decision:
    """The end of a review; a very small release is read in two rounds."""
    while (done := _submit(house, release, decision, **verdicts)).outcome == "more":
        release = house.open_round(release)
    return done


def _pick(house: House, release: Release, n: int = 0) -> str:
    """A row that is shown at random."""
    return f"r{sorted(_strata(house, release)['random'])[n] + 1}"


def _stamp(house: House, release: Release, *, n_caught: int = 0) -> Decision:
    """Everything is correct, but for so many of the seeds."""
    caught = sorted(find_seeds(house.ledger, release))[:n_caught]
    items = {i.item: "unsure" if i.item in caught else "correct" for i in release.items}
    return house.submit(release, Answers(decision="release", reviewer="Ada", items=items))


def _strata(house: House, release: Release) -> dict[str, list[int]]:
    """The positions that are shown, by what they are shown for."""
    with house.ledger.reading() as connection:
        draw = find_draw(connection, release.release_id)
    assert draw is not None
    found: dict[str, list[int]] = {}
    for drawn in draw.drawn.values():
        found.setdefault(drawn.stratum, []).append(drawn.position)
    return found


def _refused(house: House, release: Release, answers: Answers) -> str:
    with pytest.raises(ReviewRefused) as caught:
        house.submit(release, answers)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _rows_out(house: House) -> list[Mapping[str, Any]]:
    return [orjson.loads(line) for line in house.out.read_bytes().splitlines()]


# Seeds.


def test_who_calls_everything_correct_releases_nothing(house: House) -> None:
    decision = _stamp(house, house.offer(40))
    assert (decision.outcome, decision.approval) == ("missed", None)
    assert "0 of 3 seeds were caught" in decision.words
    assert house.fetch("SELECT * FROM approvals") == []
    assert house.fetch("SELECT * FROM verdicts") == []
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is None


@pytest.mark.parametrize(
    ("n_seeds", "n_caught", "outcome"), [(1, 0, "missed"), (2, 1, "missed"), (3, 1, "missed"), (3, 2, "approved")]
)
def test_all_of_two_seeds_have_to_be_caught_and_all_but_one_of_more(
    house: House, n_seeds: int, n_caught: int, outcome: str
) -> None:
    assert _stamp(house, house.offer(40, n_seeds=n_seeds), n_caught=n_caught).outcome == outcome


def test_a_missed_seed_is_shown_afterwards_and_counted(house: House) -> None:
    release = house.offer(40)
    words = _stamp(house, release, n_caught=2).words
    missed = sorted(find_seeds(house.ledger, release))[2]
    assert f"item {missed} (row {release.items[missed - 1].row_id})" in words
    assert "caught 2 of 3 seeds so far" in words
    assert house.fetch("SELECT n_seeds, n_caught FROM review_answers") == [(3, 2)]


def test_after_missed_seeds_other_rows_and_other_seeds_are_drawn(house: House) -> None:
    release = house.offer(400)
    _stamp(house, release)
    before, again = _strata(house, release), house.open_round(release)
    now = _strata(house, again)
    assert again.round == 1
    assert set(now["random"]) != set(before["random"])
    assert not set(now[SEED]) & {*before[SEED], *before["random"]}
    assert _submit(house, again).outcome == "approved"


def test_who_misses_seeds_three_times_reads_no_more_of_it(house: House) -> None:
    release = house.offer(400)
    for _ in range(3):
        _stamp(house, release)
        release = house.open_round(release)
    assert "in 3 rounds" in _refused(house, release, house.answer(release))


def test_nothing_tells_a_seed_from_a_row(house: House) -> None:
    release = house.offer(60)
    fields = {(tuple(vars(item)), tuple(item.input), tuple(item.output)) for item in release.items}
    assert len(fields) == 1
    assert [i.item for i in release.items] == list(range(1, len(release.items) + 1))


def test_no_seed_leaves(house: House) -> None:
    release = house.offer(5)
    seeds = [release.items[n - 1].output for n in find_seeds(house.ledger, release)]
    deliver_release(house.approve(release), ledger=house.ledger, settings=house.settings)
    left = [{"label": row["label"], "quote": row["quote"]} for row in _rows_out(house)]
    assert len(left) == 5
    assert not [seed for seed in seeds if seed in left]


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE draws SET items = replace(items, 'text 2', 'text 9')",
        "UPDATE draws SET items = '{'",
        "UPDATE drawn_items SET stratum = 'risk' WHERE stratum = 'random'",
        "UPDATE drawn_items SET position = 4 - position",
        "DELETE FROM drawn_items WHERE stratum = 'seed'",
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_shown_cannot_be_edited_before_the_decision_or_after(house: House, edit: str, when: str) -> None:
    release = house.offer(5)
    answers, approval = house.answer(release), house.approve(release) if when == "after" else None
    with pytest.raises(LedgerRefused):
        house.ledger.write(lambda c: c.exec_driver_sql(edit))
    house.tamper(edit)
    settings = house.settings
    act = (
        partial(deliver_release, approval, ledger=house.ledger, settings=settings)
        if approval
        else partial(house.submit, release, answers)
    )
    with pytest.raises((LedgerRefused, ApprovalRefused)):
        act()
    assert not house.out.exists()


def test_what_somebody_flagged_who_missed_the_seeds_is_read_again(house: House) -> None:
    release = house.offer(400)
    flagged = sorted(_strata(house, release)["random"])[:2]
    seeds = find_seeds(house.ledger, release)
    items: dict[Any, Any] = {i.item: "correct" for i in release.items}
    items |= {i.item: {"wrong": "this hurts"} for i in release.items if int(i.row_id[1:]) - 1 in flagged}
    assert house.submit(release, Answers(decision="release", reviewer="Ada", items=items)).outcome == "missed"
    assert seeds
    again = house.open_round(release)
    assert set(flagged) < set(_strata(house, again)["random"])
    assert len(house.fetch("SELECT * FROM verdicts WHERE verdict = 'wrong'")) == 2
    # Without an answer that counts they stay doubted on other nights too.
    with house.ledger.reading() as connection:
        assert len(find_doubted(connection)) == 2


def test_no_row_is_shown_beside_its_seed(house: House) -> None:
    for n_rows in range(2, 30):
        release = house.offer(n_rows, now=float(n_rows))
        while True:
            row_ids = [i.row_id for i in release.items]
            assert len(row_ids) == len(set(row_ids))
            assert release.n_seeds == min(3, n_rows // 2)
            if house.submit(release, house.answer(release)).outcome != "more":
                break
            release = house.open_round(release)


def test_a_release_that_lends_itself_to_no_seed_is_not_shown(house: House) -> None:
    prompt = house.make_prompt()
    checked = house.check(["", "", ""], prompt)
    house.begin()
    part = write_part([r | {"output": "{}"} for r in read_part(checked.part, house.home).to_pylist()], house.home)
    empty = replace(checked, part=part)
    house.ledger.write(lambda c: record_part(c, "empty", empty, 1.0))
    with pytest.raises(ReviewRefused, match="no answer can be made plainly wrong"):
        house.offer_checked([empty], prompt)


def test_a_correction_is_not_forgotten_when_somebody_finds_it_correct(house: House) -> None:
    release = house.offer(40, n_reviewers=2, max_bad_share=0.5)
    _submit(house, release, "hold", **{_pick(house, release): _GREEN})
    assert _submit(house, house.open_round(release), reviewer="Ben").outcome == "approved"
    with house.ledger.reading() as connection:
        assert len(find_doubted(connection)) == 1


@pytest.mark.parametrize("edit", ["UPDATE review_answers SET reviewer = 'Ben'", "DELETE FROM verdicts"])
def test_what_was_answered_stays(house: House, edit: str) -> None:
    _submit(house, house.offer(40))
    with pytest.raises(LedgerRefused):
        house.ledger.write(lambda c: c.exec_driver_sql(edit))


# The bound.


def test_as_many_rows_are_read_as_the_bound_asks_for(house: House) -> None:
    release = house.offer(400)
    assert len(_strata(house, release)["random"]) == count_to_read(400, 0, 0.95, 0.1)
    decision = _submit(house, release)
    assert decision.outcome == "approved"
    n = len(_strata(house, release)["random"])
    assert f"{n} read" in decision.words
    assert "0 wrong: with 95 % confidence at most 10 % of 400 rows are wrong" in decision.words


def test_a_wrong_row_among_those_read_asks_for_more_and_more_lets_the_rest_go(house: House) -> None:
    release = house.offer(400)
    at = _strata(house, release)["random"]
    decision = _submit(house, release, **{f"r{at[0] + 1}": "wrong"})
    # The second look is stricter: whoever reads on until the bound fits must not be fooled more often.
    n_more = (count_to_read(400, 1, 0.975, 0.1) or 0) - len(at)
    assert decision.outcome == "more"
    assert (
        f"read {n_more} rows more, or hold the {400 - len(release.items) + release.n_seeds} that nobody has read"
        in decision.words
    )
    again = house.open_round(release)
    more = _strata(house, again)
    assert len(more["random"]) == n_more
    assert not set(more["random"]) & set(at)
    decision = _submit(house, again)
    assert "with 92.5 % confidence over 2 looks at most" in decision.words
    assert decision.approval is not None
    assert (decision.approval.n_allowed, decision.approval.n_held) == (399, 1)


def test_rows_that_nobody_read_can_be_held_instead(house: House) -> None:
    release = house.offer(400)
    n_read = len(release.items) - release.n_seeds
    first = next(i.row_id for i in release.items if i.item not in find_seeds(house.ledger, release))
    decision = _submit(house, release, "hold", **{first: "wrong"})
    assert decision.approval is not None
    assert (decision.approval.n_allowed, decision.approval.n_held) == (n_read - 1, 400 - n_read + 1)


def test_rows_picked_for_risk_hold_but_do_not_feed_the_bound(house: House) -> None:
    doubted = house.offer(400, now=1.0)
    rows = [i.row_id for i in doubted.items if i.item not in find_seeds(house.ledger, doubted)]
    _submit(house, doubted, "hold", **dict.fromkeys(rows, "wrong"))
    release = house.offer(401, now=2.0)
    strata = _strata(house, release)
    assert len(strata["risk"]) > 0
    decision = _submit(house, release, **{f"r{p + 1}": "wrong" for p in strata["risk"]})
    assert decision.outcome == "approved"
    assert f"{len(strata['random'])} read (and {len(strata['risk'])} picked for their risk)" in decision.words
    n = bound_bad(401, len(strata["random"]), 0, 0.95)
    assert orjson.loads(house.fetch("SELECT findings FROM approvals")[-1][0])["bound"] == n


def test_where_every_row_was_read_no_bound_is_needed(house: House) -> None:
    decision = _finish(house, house.offer(5), r1="wrong", r2="unsure")
    assert decision.approval is not None
    assert (decision.approval.n_allowed, decision.approval.n_held) == (3, 2)
    assert decision.words.startswith("All 5 rows were read, 2 wrong")


# Corrections.

_GREEN = {"corrected": {"label": "green"}}


def test_a_corrected_row_leaves_as_corrected_and_both_versions_are_kept(house: House) -> None:
    decision = _finish(house, house.offer(3), r2=_GREEN)
    assert decision.approval is not None
    deliver_release(decision.approval, ledger=house.ledger, settings=house.settings)
    assert [(row["row_id"], row["label"]) for row in _rows_out(house)] == [
        ("r1", "red"),
        ("r2", "green"),
        ("r3", "red"),
    ]
    [(offered, left)] = house.fetch(
        "SELECT r.payload, c.payload FROM corrections c JOIN approvals USING (approval_id)"
        " JOIN release_rows r USING (release_id, position)"
    )
    assert offered != left
    query = "SELECT correction FROM verdicts WHERE verdict = 'corrected'"
    assert orjson.loads(house.fetch(query)[0][0]) == {"label": "green", "quote": "text 2"}


def test_a_correction_counts_against_the_bound(house: House) -> None:
    release = house.offer(400)
    at = _strata(house, release)["random"][0]
    assert _submit(house, release, **{f"r{at + 1}": _GREEN}).outcome == "more"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label": "purple"}, "does not fit the prompt's schema at label"),
        ({"mood": "good"}, "does not fit the prompt's schema at the output"),
        ({"label": "red"}, "is corrected to what it was"),
    ],
)
def test_a_correction_that_is_none_is_refused(house: House, fields: dict[str, Any], said: str) -> None:
    release = house.offer(20)
    assert said in _refused(house, release, house.answer(release, **{_pick(house, release): {"corrected": fields}}))
    assert house.fetch("SELECT * FROM review_answers") == []


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM corrections",
        "UPDATE corrections SET payload = (SELECT payload FROM release_rows WHERE position = 0)",
    ],
)
def test_a_correction_that_was_edited_lets_nothing_out(house: House, edit: str) -> None:
    decision = _finish(house, house.offer(3), r2=_GREEN)
    assert decision.approval is not None
    with pytest.raises(LedgerRefused):
        house.ledger.write(lambda c: c.exec_driver_sql(edit))
    house.tamper(edit)
    with pytest.raises(ApprovalRefused, match="was changed after its approval"):
        deliver_release(decision.approval, ledger=house.ledger, settings=house.settings)
    assert not house.out.exists()


# Two readers.


def test_a_second_reader_is_shown_what_the_first_one_read_with_seeds_of_their_own(house: House) -> None:
    release = house.offer(400, n_reviewers=2)
    before, decision = _strata(house, release), _submit(house, release)
    assert decision.outcome == "second"
    assert "read by somebody else too" in decision.words
    now = _strata(house, house.open_round(release))
    assert set(now["again"]) == {*before["random"], *before.get("risk", [])}
    assert len(now[SEED]) == 3
    assert not set(now[SEED]) & set(before[SEED])


def test_the_same_person_is_no_second_reader(house: House) -> None:
    release = house.offer(40, n_reviewers=2)
    _submit(house, release)
    again = house.open_round(release)
    assert "Ada has read these rows" in _refused(house, again, house.answer(again))
    decision = _submit(house, again, reviewer="Ben")
    assert decision.approval is not None
    assert decision.approval.reviewer == "Ada, Ben"


def test_what_either_of_two_readers_calls_wrong_is_held(house: House) -> None:
    release = house.offer(40, n_reviewers=2, max_bad_share=0.5)
    first, second = _pick(house, release, 0), _pick(house, release, 1)
    n_read = len(release.items) - release.n_seeds
    _submit(house, release, "hold", **{first: "wrong"})
    again = house.open_round(release)
    assert first not in [i.row_id for i in again.items if i.item not in find_seeds(house.ledger, again)]
    decision = _submit(house, again, reviewer="Ben", **{second: "unsure"})
    assert decision.approval is not None
    assert (decision.approval.n_allowed, decision.approval.n_held) == (n_read - 2, 40 - n_read + 2)


def test_a_correction_is_read_by_the_other_one_before_it_leaves(house: House) -> None:
    release = house.offer(40, n_reviewers=2, max_bad_share=0.5)
    row = _pick(house, release)
    _submit(house, release, "hold", **{row: _GREEN})
    again = house.open_round(release)
    [shown] = [i for i in again.items if i.row_id == row and i.item not in find_seeds(house.ledger, again)]
    assert shown.output["label"] == "green"
    # The second one corrects it otherwise: the first one reads that, and nothing else, once more.
    assert _submit(house, again, reviewer="Ben", **{row: {"corrected": {"label": "blue"}}}).outcome == "second"
    last = house.open_round(again)
    assert _strata(house, last)["again"] == [int(row[1:]) - 1]
    assert "Ben has read these rows" in _refused(house, last, house.answer(last, reviewer="Ben"))
    approval = _submit(house, last).approval
    assert isinstance(approval, Approval)
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    assert {r["label"] for r in _rows_out(house) if r["row_id"] == row} == {"blue"}


def test_of_two_who_began_at_once_the_slower_one_is_the_second_reader(house: House) -> None:
    release = house.offer(40, n_reviewers=2)
    slower = house.answer(release, reviewer="Ben")
    _submit(house, release)
    house.open_round(release)
    decision = house.submit(release, slower)
    assert decision.approval is not None
    assert decision.approval.reviewer == "Ada, Ben"


def test_two_readers_who_each_found_something_still_come_to_an_end(house: House) -> None:
    """Ada holds what nobody read; Ben is shown what Ada read, and nothing else."""
    release = house.offer(400, n_reviewers=2)
    read = set(_strata(house, release)["random"])
    _submit(house, release, "hold", **{_pick(house, release): "wrong"})
    again = house.open_round(release)
    assert set(_strata(house, again)) == {"again", SEED}
    assert set(_strata(house, again)["again"]) < read
    approval = _submit(house, again, reviewer="Ben").approval
    assert approval is not None
    assert approval.n_allowed == len(read) - 1 + len(_strata(house, release).get("risk", []))


def test_rows_that_different_people_read_are_confirmed_apart(house: House) -> None:
    """Ada's first round asks for more, which Ben reads: each then confirms what the other one has read."""
    release = house.offer(400, n_reviewers=2)
    ada = set(_strata(house, release)["random"])
    _submit(house, release, **{_pick(house, release): "wrong"})
    more = house.open_round(release)
    ben = set(_strata(house, more)["random"])
    assert _submit(house, more, reviewer="Ben").outcome == "second"
    readers = []
    for _ in range(2):
        more = house.open_round(more)
        group = set(_strata(house, more)["again"])
        assert group < ada or group == ben
        readers.append("Ben" if group < ada else "Ada")
        done = _submit(house, more, reviewer=readers[-1])
    assert sorted(readers) == ["Ada", "Ben"]
    assert done.outcome == "approved"


def test_whoever_has_read_the_rows_already_may_still_reject(house: House) -> None:
    release = house.offer(40, n_reviewers=2)
    _submit(house, release)
    again = house.open_round(release)
    assert _submit(house, again, "reject").outcome == "rejected"


# Who.


def test_where_somebody_is_enrolled_a_name_alone_does_not_do(house: House) -> None:
    house.enrol("Ada")
    release = house.offer(20)
    bare = house.answer(release)
    assert "has no code" in _refused(house, release, bare.model_copy(update={"code": " "}))
    assert house.submit(release, bare).outcome == "approved"
    assert house.fetch("SELECT reviewer, identified_by FROM approvals") == [("Ada", "code")]


def test_a_wrong_code_is_counted_and_leaves_the_round_as_it_was(house: House) -> None:
    house.enrol("Ada")
    release = house.offer(3)
    answers = house.answer(release).model_copy(update={"code": "000000"})
    _refused(house, release, answers)
    assert house.fetch("SELECT n_wrong FROM reviewers") == [(1,)]
    assert house.fetch("SELECT * FROM review_answers") == []
    assert house.open_round(release) == release


def test_a_code_is_verified_as_of_the_moment_it_was_handed_in(house: House) -> None:
    house.enrol("Ada")
    release = house.offer(20)
    code = house.find_code("Ada", release)
    answers = house.answer(release).model_copy(update={"code": code})
    minutes_later = time.time() + 600
    with pytest.raises(ReviewRefused, match="code"):
        house.submit(release, answers, now=minutes_later)
    decision = house.submit(release, answers, now=minutes_later, submitted_at=time.time())
    assert decision.outcome == "approved"


def test_who_started_a_run_does_not_review_it(house: House) -> None:
    house.enrol("Ada", "Ben")
    release = house.offer(20)
    house.tamper("UPDATE runs SET started_by = 'ada'")
    said = _refused(house, release, house.answer(release))
    assert "Ada started this run" in said
    assert _submit(house, release, reviewer="Ben").outcome == "approved"


def test_what_cannot_be_undone_always_asks_for_a_code(house: House) -> None:
    release = house.offer(3, sink="http://127.0.0.1:9/in")
    assert (release.effect, release.policy.max_bad_share) == ("irreversible", 0.05)
    answers = house.answer(release).model_copy(update={"code": "123456"})
    assert "nobody is enrolled" in _refused(house, release, answers)


def test_answers_to_another_round_are_refused(house: House) -> None:
    release = house.offer(60)
    stale = house.answer(release)
    _stamp(house, release)
    house.open_round(release)
    assert "somebody has answered meanwhile" in _refused(house, release, stale)


def test_a_refused_answer_that_no_database_bears_is_recorded_without_it(house: House) -> None:
    release = house.offer(5)
    given = {"reviewer": "A\0da", "reason": "\ud800", "items": {"1": "\0"}}
    record_refusal(release, given, ReviewRefused("no"), ledger=house.ledger, now=1.0)
    assert house.fetch("SELECT reviewer, reason FROM review_answers") == [("A\N{REPLACEMENT CHARACTER}da", "?")]


def test_the_third_miss_asks_for_somebody_else(house: House) -> None:
    release = house.offer(400)
    asked = []
    for _ in range(3):
        asked.append(_stamp(house, release).is_for_others)
        release = house.open_round(release)
    assert asked == [False, False, True]
