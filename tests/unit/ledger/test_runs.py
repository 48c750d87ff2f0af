from __future__ import annotations

from dataclasses import replace

import pytest

from overnight.keys import digest_bytes
from overnight.ledger.manifests import find_batches, find_part, is_recorded, record_batches, record_part, replace_input
from overnight.ledger.runs import (
    find_pinned_prompt,
    find_run_of,
    get_prompt_name,
    pin_model,
    pin_prompt,
)
from overnight.ledger.terms import (
    change_mode,
    find_begun_at,
    find_budget,
    find_changed_at,
    find_mode,
    pin_budget,
    pin_mode,
)
from overnight.records import Batch, CheckedBatch, CompletedBatch, Mode, Part
from tests.conftest import RUN, House

PART = Part("parts/x.parquet", digest_bytes(b"part"), 3)
COMPLETED = CompletedBatch(1, PART, digest_bytes(b"prompt"), 1, 1, 1)
CHECKED = CheckedBatch(
    1,
    PART,
    digest_bytes(b"prompt"),
    digest_bytes(b"checks"),
    1,
    1,
    1,
    ("a rule failed",),
    ("a warning",),
    "docs/i.html",
)


def _record(house: House, manifest: CompletedBatch | CheckedBatch, key: str = "key") -> None:
    house.ledger.write(lambda c: record_part(c, key, manifest, 1.0))


def test_manifests_come_back_as_they_were_recorded_in_order(house: House) -> None:
    house.begin()
    batches = [Batch(n, PART, digest_bytes(b"rows"), 3, 0) for n in (2, 1)]
    house.ledger.write(lambda c: record_batches(c, RUN, batches))
    house.ledger.write(lambda c: record_batches(c, RUN, [CHECKED]))
    with house.ledger.reading() as connection:
        assert find_batches(connection, RUN, Batch) == batches[::-1]
        assert find_batches(connection, RUN, CompletedBatch) == []
        assert find_batches(connection, RUN, CheckedBatch) == [CHECKED]


def test_a_final_part_that_changes_is_a_new_generation_and_the_same_one_is_not(house: House) -> None:
    final = replace(COMPLETED, n_accepted=2, n_pending=0)
    later = replace(COMPLETED, n_accepted=1, n_quarantined=2, n_pending=0)
    for manifest in (final, final, later, later):
        _record(house, manifest)
    with house.ledger.reading() as connection:
        assert find_part(connection, "key", CompletedBatch) == (1, later)
        assert find_part(connection, "other", CompletedBatch) is None
    assert house.fetch("SELECT generation FROM parts ORDER BY 1") == [(0,), (1,)]


@pytest.mark.parametrize("manifest", [COMPLETED, CHECKED], ids=["completed", "checked"])
def test_a_part_with_rows_pending_is_a_new_generation_even_if_it_is_the_same(
    house: House, manifest: CompletedBatch | CheckedBatch
) -> None:
    for _ in range(3):
        _record(house, manifest)
    with house.ledger.reading() as connection:
        assert find_part(connection, "key", type(manifest)) == (2, manifest)


def test_only_a_manifest_that_the_check_step_recorded_is_recorded(house: House) -> None:
    _record(house, CHECKED)
    with house.ledger.reading() as connection:
        assert is_recorded(connection, CHECKED)
        assert not is_recorded(connection, replace(CHECKED, n_accepted=3))
        assert not is_recorded(connection, replace(CHECKED, batch_failures=()))
        assert not is_recorded(connection, replace(CHECKED, part=replace(PART, digest=digest_bytes(b"other"))))


def test_a_completed_part_does_not_pass_for_a_checked_one(house: House) -> None:
    _record(house, COMPLETED)
    with house.ledger.reading() as connection:
        assert not is_recorded(connection, CHECKED)


def test_the_first_texts_of_a_prompt_stay_for_the_run(house: House) -> None:
    house.begin()
    prompt = house.make_prompt()
    house.ledger.write(lambda c: pin_prompt(c, RUN, replace(prompt, text="first")))
    house.ledger.write(lambda c: pin_prompt(c, RUN, replace(prompt, text="second")))
    house.ledger.write(lambda c: pin_model(c, RUN, prompt))
    with house.ledger.reading() as connection:
        pinned = find_pinned_prompt(connection, RUN, "sort")
        assert pinned is not None
        assert (pinned.text, pinned.model, pinned.endpoint) == ("first", prompt.model, prompt.endpoint)
        assert get_prompt_name(connection, RUN, prompt.prompt_hash) == "sort"
        assert find_pinned_prompt(connection, RUN, "other") is None


def test_a_flow_run_leads_to_the_run_it_worked_on(house: House) -> None:
    house.begin()
    with house.ledger.reading() as connection:
        assert find_run_of(connection, f"of-{RUN}") == RUN
        assert find_run_of(connection, "of-nothing") is None


def test_what_was_made_of_other_rows_goes_with_them_and_the_rest_stays(house: House) -> None:
    house.begin()
    first, second = (Batch(n, PART, digest_bytes(str(n).encode()), 3, 0, step=2) for n in (1, 2))
    made = [replace(COMPLETED, n=n, step=2) for n in (1, 2)]
    other_step = [Batch(1, PART, digest_bytes(b"rows"), 3, 0), COMPLETED]
    for manifests in ([first, second], made, other_step[:1], other_step[1:]):
        house.ledger.write(lambda c, m=manifests: record_batches(c, RUN, m))  # type: ignore[misc]

    def read(step: int) -> list[list[int]]:
        with house.ledger.reading() as connection:
            return [[b.n for b in find_batches(connection, RUN, kind, step=step)] for kind in (Batch, CompletedBatch)]

    changed = replace(second, digest=digest_bytes(b"more"))
    house.ledger.write(lambda c: replace_input(c, RUN, "reply", 2, [first, changed]))
    assert read(2) == [[1, 2], [1]]
    house.ledger.write(lambda c: replace_input(c, RUN, "reply", 2, []))
    assert (read(2), read(1)) == ([[], []], [[1], [1]])


def test_how_a_run_s_rows_are_asked_stays_as_its_first_pass_had_it(house: House) -> None:
    house.begin()
    write, read = house.ledger.write, house.ledger.read
    assert read(lambda c: find_mode(c, RUN)) == read(lambda c: find_mode(c, "nowhere")) == (None, None)
    assert write(lambda c: pin_mode(c, RUN, Mode.BATCH, 7.0)) == (Mode.BATCH, 7.0)
    assert write(lambda c: pin_mode(c, RUN, Mode.ONLINE, None)) == (Mode.BATCH, 7.0)
    assert read(lambda c: find_mode(c, RUN)) == (Mode.BATCH, 7.0)


def test_a_run_without_a_deadline_or_a_mode_of_its_own_may_be_given_one_later(house: House) -> None:
    house.begin()
    write = house.ledger.write
    assert write(lambda c: pin_mode(c, RUN, None, None)) == (None, None)
    assert write(lambda c: pin_mode(c, RUN, None, 7.0)) == (None, 7.0)
    assert write(lambda c: pin_mode(c, RUN, Mode.ONLINE, 9.0)) == (Mode.ONLINE, 7.0)


def test_what_is_said_of_a_run_later_takes_the_place_of_what_it_began_with(house: House) -> None:
    house.begin()
    write, read = house.ledger.write, house.ledger.read
    write(lambda c: pin_mode(c, RUN, Mode.BATCH, 7.0))
    # Said again, nothing changes.
    write(lambda c: change_mode(c, RUN, Mode.BATCH, 20.0, by_at=7.0))
    write(lambda c: change_mode(c, RUN, None, 20.0))
    assert read(lambda c: find_changed_at(c, RUN)) is None
    write(lambda c: change_mode(c, RUN, Mode.ONLINE, 21.0))
    assert (read(lambda c: find_mode(c, RUN)), read(lambda c: find_changed_at(c, RUN))) == ((Mode.ONLINE, 7.0), 21.0)
    write(lambda c: change_mode(c, RUN, None, 22.0, by_at=9.0))
    assert (read(lambda c: find_mode(c, RUN)), read(lambda c: find_changed_at(c, RUN))) == ((Mode.ONLINE, 9.0), 22.0)


@pytest.mark.parametrize(
    ("scheduled_at", "changed_at", "begun_at"), [(None, None, 1.0), (0.5, None, 0.5), (0.5, 8.0, 8.0)]
)
def test_a_run_begins_when_it_was_meant_to(
    house: House, scheduled_at: float | None, changed_at: float | None, begun_at: float
) -> None:
    house.begin()
    house.begin(now=5.0)
    house.tamper("UPDATE passes SET scheduled_at = :at WHERE started_at = 1.0", at=scheduled_at)
    house.tamper("UPDATE runs SET changed_at = :at", at=changed_at)
    assert house.ledger.read(lambda c: find_begun_at(c, RUN)) == begun_at


def test_a_budget_stays_unless_somebody_says_another(house: House) -> None:
    house.begin()
    for said, replaces, holds in (
        (None, False, None),
        (5.0, False, 5.0),
        (1.0, False, 5.0),
        (None, True, 5.0),
        (0.0, True, 0.0),
        (3.0, False, 0.0),
    ):
        house.ledger.write(lambda c, said=said, replaces=replaces: pin_budget(c, RUN, said, replaces=replaces))  # type: ignore[misc]
        assert house.ledger.read(lambda c: find_budget(c, RUN)) == holds
