"""`overnight outbox`, `hold` and `recall`, as a person meets them."""

from __future__ import annotations

import json
import time

import pytest

from overnight.approve import find_standing
from overnight.deliver import deliver_release
from overnight.failures import DeliveryHeld
from overnight.records import Approval, Release
from tests.conftest import RUN, House
from tests.unit.cli.conftest import Cli


@pytest.fixture
def delivered(house: House) -> Release:
    """A release that left, but for a row that was called wrong."""
    release = house.offer(3)
    deliver_release(house.approve(release, r2="wrong"), ledger=house.ledger, settings=house.settings)
    return release


def _one_line(err: str) -> str:
    assert err.startswith("overnight: ")
    assert err.count("\n") == 1
    return err


def test_without_deliveries_the_outbox_says_so(cli: Cli, house: House) -> None:
    assert cli("outbox") == (0, "Nothing has left yet.\n", "")


def test_the_outbox_tells_what_became_of_each_release(cli: Cli, house: House, delivered: Release) -> None:
    code, out, _ = cli("outbox")
    assert code == 0
    assert out.startswith(delivered.release_id)
    assert out.rstrip().endswith(f"{house.sink}: 2 delivered")
    assert cli("outbox", delivered.release_id)[1] == f"{delivered.release_id}: 2 delivered\n"
    assert [r["row_id"] for r in json.loads(cli("outbox", delivered.release_id, "--json")[1])] == ["r1", "r3"]


def test_a_release_that_is_not_there_is_refused_in_one_line(cli: Cli, house: House) -> None:
    code, _, err = cli("outbox", "nothing")
    assert code == 1
    assert "There is no release nothing" in _one_line(err)


def test_a_sink_on_hold_takes_nothing_until_it_is_lifted(cli: Cli, house: House) -> None:
    approval = house.approve(house.offer(2))
    assert cli("hold", house.sink, "--by", "Ada", "--reason", "wrong tone")[0] == 0
    with pytest.raises(DeliveryHeld, match=r"on hold by Ada since .* \(wrong tone\)"):
        deliver_release(approval, ledger=house.ledger, settings=house.settings)
    assert not house.out.exists()
    assert f"{house.sink}: by Ada since" in cli("hold")[1]
    assert json.loads(cli("hold", "--json")[1])[0]["held_for"] == "wrong tone"
    assert cli("hold", house.sink, "--lift")[0] == 0
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    assert house.out.exists()


def test_lifting_what_is_not_on_hold_is_refused_in_one_line(cli: Cli, house: House) -> None:
    code, _, err = cli("hold", house.sink, "--lift")
    assert code == 1
    assert "is not on hold" in _one_line(err)


def test_a_recalled_release_is_gone_and_says_who_recalled_it(cli: Cli, house: House, delivered: Release) -> None:
    assert house.out.exists()
    code, out, _ = cli("recall", delivered.release_id, "--by", "Ada", "--reason", "wrong tone")
    assert (code, out) == (0, f"Recalled 2 of 2 rows of release {delivered.release_id}.\n")
    assert not house.out.exists()
    assert house.fetch("SELECT kind, by, reason FROM interventions") == [("recall", "Ada", "wrong tone")]
    assert cli("outbox", delivered.release_id)[1] == f"{delivered.release_id}: 2 recalled\n"


def test_a_file_that_was_changed_since_is_left_as_it_is(cli: Cli, house: House, delivered: Release) -> None:
    house.out.write_text("edited\n")
    code, out, err = cli("recall", delivered.release_id, "--reason", "wrong tone")
    assert (code, out) == (1, f"Recalled 0 of 2 rows of release {delivered.release_id}.\n")
    assert all("is still there: " in line for line in err.splitlines())
    assert house.out.read_text() == "edited\n"


def test_the_file_is_again_what_it_was_before_the_release(cli: Cli, house: House) -> None:
    house.out.parent.mkdir(exist_ok=True)
    house.out.write_text("what stood there before\n")
    first = house.offer(2)
    deliver_release(house.approve(first), ledger=house.ledger, settings=house.settings)
    second = house.offer(3, run_id="night-2", now=2.0)
    deliver_release(house.approve(second), ledger=house.ledger, settings=house.settings)
    assert cli("recall", first.release_id, "--reason", "no")[0] == 1  # the later one stands there
    assert cli("recall", second.release_id, "--reason", "no")[0] == 0
    assert [json.loads(line)["row_id"] for line in house.out.read_text().splitlines()] == ["r1", "r2"]
    assert cli("recall", first.release_id, "--reason", "no")[0] == 0
    assert house.out.read_text() == "what stood there before\n"


def test_what_cannot_be_undone_is_refused_in_one_line(cli: Cli, house: House) -> None:
    release = house.offer(1, sink="http://127.0.0.1:9/in")
    approval = house.approve(release)
    house.tamper("UPDATE approvals SET state = 'consumed'")
    assert approval.sink.startswith("http:")
    code, _, err = cli("recall", release.release_id, "--reason", "no")
    assert code == 1
    assert "cannot be undone from here" in _one_line(err)


def test_nothing_is_recalled_of_what_never_left(cli: Cli, house: House) -> None:
    code, _, err = cli("recall", house.offer(1).release_id, "--reason", "no")
    assert code == 1
    assert "there is nothing to recall" in _one_line(err)


def test_only_rows_of_unknown_fate_are_settled_by_hand(cli: Cli, house: House, delivered: Release) -> None:
    code, _, err = cli("outbox", delivered.release_id, "--arrived", "r1")
    assert code == 1
    assert "is not of unknown fate" in _one_line(err)


@pytest.mark.parametrize(("option", "state"), [("--arrived", "delivered"), ("--resend", "promised")])
def test_what_a_person_finds_out_is_recorded(
    cli: Cli, house: House, delivered: Release, option: str, state: str
) -> None:
    house.tamper("UPDATE outbox SET state = 'unknown' WHERE row_id = 'r1'")
    code, out, _ = cli("outbox", delivered.release_id)
    assert "  unknown   r1" in out
    assert f"overnight outbox {delivered.release_id} --arrived ROW" in out
    code, out, _ = cli("outbox", delivered.release_id, option, "r1", "--by", "Ada", "--reason", "saw it")
    assert code == 0
    assert f"`overnight review {RUN}` continues the run" in out
    assert house.fetch("SELECT state FROM outbox WHERE row_id = 'r1'") == [(state,)]
    [(said,)] = house.fetch("SELECT reason FROM interventions")
    assert said.endswith("says Ada: saw it")


def test_held_rows_cannot_be_offered_before_there_are_any(cli: Cli, house: House) -> None:
    house.offer(2)
    code, _, err = cli("review", "--held")
    assert code == 1
    assert "Say which run's held rows" in _one_line(err)


def test_the_standing_approval_of_a_run_is_found_after_a_recall(cli: Cli, house: House, delivered: Release) -> None:
    cli("recall", delivered.release_id, "--reason", "no")
    standing = find_standing(house.ledger, RUN, house.sink, now=time.time())
    assert isinstance(standing, Approval)
    # Going on with it writes nothing again.
    receipts = deliver_release(standing, ledger=house.ledger, settings=house.settings)
    assert {r.state for r in receipts} == {"recalled"}
    assert not house.out.exists()
