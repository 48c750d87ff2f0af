"""Drift between nights: each change is named, nights that are alike raise nothing, and a limit holds a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from overnight.ledger.measures import list_measures
from overnight.records import CheckedBatch, RunState
from overnight.report.kept import StepMeasures, read_measures
from overnight.report.measure import measure, render_markdown
from tasks.hold import hold_on_failures
from tasks.nightly import RunEnded
from tasks.run import Run
from tests.conftest import House
from tests.fakes.provider import FakeProvider
from tests.trials.conftest import pick
from tests.trials.drifting import TOPICS, Nights, Sorter, make_rows

N_ROWS = pick(short=400, long=800)
N_FEWER = N_ROWS // 2
LONGER = "The customer says so: {}. It was read twice, from the first word to the last, and nothing speaks against it."


@pytest.fixture
def nights(house: House, fake: FakeProvider) -> Nights:
    fake.answer = sorter = Sorter()
    return Nights(house, fake.openai_base_url, sorter)


def hold(house: House, run_id: str, checked: CheckedBatch) -> None:
    """What the flow does with a checked step, before anybody is asked."""
    hold_on_failures([checked], Run(run_id, "sort", False, house.settings, house.ledger))


def list_last(house: House) -> StepMeasures:
    with house.ledger.reading() as connection:
        return read_measures(list_measures(connection, "route", limit=1)[-1].measures)


def test_each_change_is_named_and_nights_that_are_alike_raise_nothing(
    nights: Nights, house: House, say: Callable[[str], None]
) -> None:
    for run_id, night in (("night-1", 1), ("night-2", 2)):
        checked, prompt = nights.work(run_id, make_rows(N_ROWS, night))
        hold(house, run_id, checked)
        assert list_last(house).changes == ()
        nights.approve(run_id, checked, prompt)

    before = nights.sorter
    before.swallows, before.refuses, before.reason = {"card_arrival": "lost_card"}, 0.05, LONGER
    checked, _ = nights.work("night-3", make_rows(N_ROWS, 3))
    hold(house, "night-3", checked)
    third = list_last(house)
    before.swallows, before.refuses, before.reason = {}, 0.0, Sorter.reason
    checked, _ = nights.work("night-4", make_rows(N_ROWS, 4, shifts=True))
    hold(house, "night-4", checked)
    fourth = list_last(house)

    for found in (third, fourth):
        for change in found.changes:
            say(f"{found.figures.run_id}: {change.words}")
    assert (third.compared_with, fourth.compared_with) == ("night-2", "night-2")
    assert {(c.what, c.measure) for c in third.changes} == {
        ("output.reason.length", "ks"),
        ("answer.length", "ks"),
        ("rate.refusals", "rate"),
        ("rate.quarantined", "rate"),
        ("rate.quarantined.refusal", "rate"),
        ("output.intent", "psi"),
        ("output.intent", "share"),
    }
    [swallowed] = [c for c in third.changes if c.measure == "share"]
    assert (swallowed.of, swallowed.instead) == ("card_arrival", "lost_card")
    assert {c.what for c in fourth.changes} == {"input.text.length", "input.text.language", "input.channel"}
    assert ("input.channel", "phone") in {(c.what, c.of) for c in fourth.changes}
    assert any("es rose 0 %" in c.words for c in fourth.changes)
    report = measure("night-4", ledger=house.ledger, place=house.home, now=9.0)
    assert report.compared == (f"route: compared with run night-2, {len(fourth.changes)} changes over the limits.",)
    assert "input.channel: phone" in render_markdown(report)


def test_a_limit_that_holds_is_met_before_anybody_is_asked_and_a_wanted_change_goes_on(
    nights: Nights, house: House
) -> None:
    drift = [{"of": "output.intent", "points": 5}, {"of": "*.length", "severity": "warning"}]
    checked, prompt = nights.work("night-1", make_rows(N_FEWER, 1), drift=drift)
    hold(house, "night-1", checked)
    [said] = measure("night-1", ledger=house.ledger, place=house.home, now=9.0).compared
    assert said.startswith("route: there was no approved run to compare with that has 20 accepted rows or more")
    nights.approve("night-1", checked, prompt)

    nights.sorter.swallows = {"card_arrival": "lost_card"}
    rows = make_rows(N_FEWER, 2)
    checked, _ = nights.work("night-2", rows, drift=drift)
    with pytest.raises(RunEnded, match="Run night-2 is held: it differs from run night-1") as ended:
        hold(house, "night-2", checked)
    assert (ended.value.state, ended.value.failed) == (RunState.HELD, True)
    assert "output.intent: card_arrival" in str(ended.value)
    assert '"drift_since": "night-2" into checks.json' in str(ended.value)
    assert "\n" not in str(ended.value)

    checked, prompt = nights.work("night-3", rows, drift=drift, drift_since="night-2")
    hold(house, "night-3", checked)
    assert (list_last(house).compared_with, list_last(house).changes) == ("night-2", ())
    assert list_last(house).figures.hit_rate == 1.0
    nights.approve("night-3", checked, prompt)
    # The next night is compared with what was approved since, whether or not the line still stands there.
    checked, _ = nights.work("night-4", make_rows(N_FEWER, 4), drift=drift, drift_since="night-2")
    hold(house, "night-4", checked)
    assert list_last(house).compared_with == "night-3"


def test_a_night_of_few_rows_neither_is_compared_with_nor_hides_that_nothing_was(nights: Nights, house: House) -> None:
    drift = [{"of": "output.intent", "points": 5}]
    for run_id, n in (("night-1", 60), ("night-2", 12)):
        checked, prompt = nights.work(run_id, make_rows(n, n), drift=drift)
        hold(house, run_id, checked)
        nights.approve(run_id, checked, prompt)
    [said] = measure("night-2", ledger=house.ledger, place=house.home, now=9.0).compared
    assert said.startswith(
        "route: compared with run night-1, nothing changed over its limit; nothing could be compared"
    )
    assert said.endswith(": fewer than 20 rows in one of them.")

    nights.sorter.swallows = dict.fromkeys(TOPICS, "refund")
    checked, _ = nights.work("night-3", make_rows(60, 3), drift=drift)
    with pytest.raises(RunEnded, match="Run night-3 is held: it differs from run night-1"):
        hold(house, "night-3", checked)
    # A run that is named is the one, however small: that nothing is held against it is said.
    checked, _ = nights.work("night-4", make_rows(60, 4), drift=drift, drift_since="night-2")
    hold(house, "night-4", checked)
    assert list_last(house).compared_with == "night-2"
