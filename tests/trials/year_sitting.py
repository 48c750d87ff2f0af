"""A morning of a year: people read what waits, and what they let out is delivered."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overnight.approve import find_standing, open_round
from overnight.deliver import deliver_release
from overnight.failures import ApprovalRefused, OvernightError, ReviewRefused
from overnight.ledger.approvals import find_approval
from overnight.ledger.releases import find_release
from overnight.records import Approval, Release, RunState
from overnight.report.brief import gather_brief, write_brief
from tests.conftest import House
from tests.honest import find_seeds
from tests.trials.year import is_wrong
from tests.trials.year_house import end, open_house, open_pass

if TYPE_CHECKING:
    from tests.trials.year_worker import Orders, WallClock

READERS = ("Ada", "Bob")
#: What each person takes for a reading: a one-time code serves once.
READING_S, MOST_ROUNDS = 90.0, 20


def sit(orders: Orders, clock: WallClock) -> dict[str, Any]:
    """A morning: what waits is read and decided, and what was let out is delivered; the brief is written."""
    with open_house(orders, clock) as house, open_pass(orders, house):
        with house.ledger.reading() as connection:
            release = find_release(connection, orders.run_id)
        assert release is not None, orders
        standing = find_standing(house.ledger, orders.run_id, release.sink, now=time.time())
        n_refused = 0 if standing else _try_expired(release, house)
        standing = standing or _review(release, orders, house, clock)
        if not isinstance(standing, Approval):
            said = end(house, orders.run_id, standing, "as its reviewer said")
        elif not orders.delivers:
            return end(house, orders.run_id, RunState.WAITING, approved=True)
        else:
            try:
                receipts = deliver_release(standing, ledger=house.ledger, settings=house.settings)
            except OvernightError as error:
                said = end(house, orders.run_id, RunState.HALTED, str(error))
            else:
                states = [receipt.state for receipt in receipts]
                said = end(house, orders.run_id, RunState.RELEASED, states=sorted(set(states)), n_rows=len(states))
        if orders.has_brief:
            now = time.time()
            write_brief(gather_brief(orders.run_id, ledger=house.ledger, place=house.home, now=now), house.home)
        return said | {"n_refused": n_refused}


def _try_expired(release: Release, house: House) -> int:
    """An approval whose day is over lets nothing out, whoever tries."""
    with house.ledger.reading() as connection:
        over = find_approval(connection, release_id=release.release_id)
    if over is None:
        return 0
    try:
        deliver_release(over, ledger=house.ledger, settings=house.settings)
    except ApprovalRefused:
        return 1
    raise AssertionError(f"an approval of {release.release_id} that was over let rows out")


def _review(release: Release, orders: Orders, house: House, clock: WallClock) -> Approval | RunState:
    at, said = 0, list[str]()
    while len(said) < MOST_ROUNDS:
        with house.ledger.reading() as connection:
            release = find_release(connection, orders.run_id) or release
        release = open_round(release, ledger=house.ledger, place=house.home, now=time.time())
        clock.set_forward(READING_S)
        wrong = _list_wrong(release, orders, house)
        answers = house.answer(release, orders.decision, reviewer=READERS[at % 2], **dict.fromkeys(wrong, "wrong"))
        _note(house.home, {"run": orders.run_id, "sink": release.sink, "decision": orders.decision, "wrong": wrong})
        try:
            decision = house.submit(release, answers)
        except ReviewRefused as error:
            # Who had answered before the process was killed has read it: somebody else is asked.
            said.append(str(error))
            at += 1
            continue
        if decision.is_final:
            return decision.approval or RunState(decision.outcome)
        said.append(decision.words)
        at += decision.is_for_others
    raise AssertionError(f"the review of {release.release_id} has no end: {said[-3:]}")


def _list_wrong(release: Release, orders: Orders, house: House) -> Mapping[str, str]:
    """The rows that a reader finds wrong, each with the text that it was asked about."""
    seeds = find_seeds(house.ledger, release)
    shown = {item.row_id: str(item.input["body"]) for item in release.items if item.item not in seeds}
    return {row_id: text for row_id, text in shown.items() if is_wrong(orders.prompt, text)}


def _note(home: Path, note: Mapping[str, Any]) -> None:
    """What the reader wrote down beside the screen."""
    with (home / "notes.jsonl").open("a") as file:
        file.write(json.dumps(note) + "\n")
