from __future__ import annotations

import orjson

from overnight.ledger.manifests import find_batches, record_batches
from overnight.ledger.runs import pin_prompt
from overnight.records import CheckedBatch
from overnight.report.quarantine import as_object, find_quarantine, render_quarantine
from overnight.report.treatment import describe_treatment
from overnight.taxonomy import TREATMENTS, FailureKind
from tests.conftest import RUN, House


def test_the_quarantine_is_told_by_class_with_what_to_do(night: House) -> None:
    found = find_quarantine(None, ledger=night.ledger, place=night.home)
    assert (found.run_id, found.n_to_retry) == (RUN, 1)
    assert {(g.failure_class, g.n_rows, g.examples) for g in found.groups} == {
        ("missing_value", 1, ("r3",)),
        ("refusal", 1, ("r4",)),
    }
    words = render_quarantine(found, by_row=True)
    assert "to do: Mend the row in the source" in words
    assert "`overnight quarantine night-1 --retry`" in words
    assert "row r4: refusal" in words


def test_only_the_rows_of_a_reason_are_told(night: House) -> None:
    found = find_quarantine(RUN, ledger=night.ledger, place=night.home, reason="missing_value")
    assert ([row.row_id for row in found.rows], found.n_to_retry) == (["r3"], 0)


def test_private_values_are_hidden_unless_they_are_asked_for(night: House) -> None:
    prompt = night.make_prompt()
    private = prompt.text.replace("inputs: [body]", "inputs: [body]\nprivate: [body]")
    hidden = type(prompt)(**{**vars(prompt), "text": private})
    night.ledger.write(lambda c: pin_prompt(c, RUN, hidden))
    for show_private in (False, True):
        found = find_quarantine(RUN, ledger=night.ledger, place=night.home, show_private=show_private)
        assert "refuse this" not in render_quarantine(found)


def test_every_class_that_sets_rows_aside_says_what_to_do() -> None:
    kinds = (FailureKind.QUARANTINE, FailureKind.HOLD)
    for failure_class, treatment in TREATMENTS.items():
        if treatment.if_stays in kinds:
            assert not describe_treatment(failure_class).startswith("Retry. (")


def test_what_became_of_rows_in_a_retry_is_told_as_json_too(night: House) -> None:
    night.begin("retry-1", retries=RUN)
    with night.ledger.reading() as connection:
        batches = find_batches(connection, RUN, CheckedBatch)
    night.ledger.write(lambda c: record_batches(c, "retry-1", batches))
    found = find_quarantine(RUN, ledger=night.ledger, place=night.home)
    told = orjson.loads(orjson.dumps(as_object(found, by_row=True)))
    assert {"retry-1": {"quarantined": 1}} in [group["retried"] for group in told["groups"]]
    assert "retried in retry-1: 1 quarantined" in render_quarantine(found)
