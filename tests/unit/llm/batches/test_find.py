from __future__ import annotations

import time

import pytest

from overnight.llm.batches import calls
from overnight.taxonomy import FailureClass
from tests.fakes.batches import Trouble

HOUR_S = 3600.0


def lose_submit(sender, n: int = 3) -> None:
    """The batch is there, and nobody was told."""
    sender.fake.troubles.append(Trouble("create", is_done=True))
    sender.fail(lambda: sender.submit(n))


def test_openai_finds_a_lost_batch_by_our_id_whether_it_has_ended_or_not(openai, key):
    openai.fake.ends_after = None
    openai.fake.add_others("openai", 3, owner=key, n_items=3)
    lose_submit(openai)
    ours = openai.fake.received[-1]
    assert openai.find().look.provider_id == ours.provider_id
    openai.fake.end()
    found = openai.find()
    assert (found.look.provider_id, found.look.is_ended) == (ours.provider_id, True)
    assert (found.candidates, found.unknown) == ((), None)


def test_anthropic_proves_a_lost_batch_by_its_results(anthropic, key):
    anthropic.fake.ends_after = None
    lose_submit(anthropic)
    ours = anthropic.only.provider_id
    (other,) = anthropic.fake.add_others("anthropic", 1, owner=key, n_items=3)
    anthropic.fake.add_others("anthropic", 2, owner=key, n_items=4)
    found = anthropic.find()
    assert found.look is None
    assert set(found.candidates) == {ours, other.provider_id}
    # What is known to be another one is no candidate.
    assert anthropic.find(spared={other.provider_id}).candidates == (ours,)
    anthropic.fake.end(other.provider_id)
    assert anthropic.find().candidates == (ours,)
    anthropic.fake.end(ours)
    assert anthropic.find().look.provider_id == ours


def test_of_a_batch_that_is_not_ours_only_the_first_result_is_read(anthropic, key):
    anthropic.fake.add_others("anthropic", 1, owner=key, n_items=20_000, has_ended=True)
    assert anthropic.find(20_000).look is None


def test_a_batch_that_was_never_received_is_absent(sender, key):
    sender.fake.add_others(sender.model.provider, 3, owner=key, n_items=3, has_ended=True)
    sender.fake.troubles.append(Trouble("create"))
    sender.fail(sender.submit)
    found = sender.find()
    assert (found.look, found.candidates, found.unknown) == (None, (), None)


def test_a_batch_of_the_other_batch_id_is_not_ours(sender):
    sender.submit(batch_id="fedcba9876543210")
    found = sender.find()
    assert (found.look, found.candidates) == (None, ())


def test_it_is_found_on_a_later_page(sender, key):
    lose_submit(sender)
    ours = sender.only.provider_id
    sender.fake.add_others(sender.model.provider, 250, owner=key, n_items=7)
    assert sender.find().look.provider_id == ours
    assert sum("GET" in call.path and call.path.endswith("/batches") for call in sender.provider.calls) == 3


def test_pages_from_before_it_was_sent_are_not_read(sender, key):
    sender.fake.add_others(sender.model.provider, 250, owner=key, n_items=3, age_s=25 * HOUR_S)
    found = sender.find()
    assert (found.look, found.candidates) == (None, ())
    assert len(sender.provider.calls) == 1


def test_clocks_that_differ_do_not_hide_it(sender):
    lose_submit(sender)
    assert sender.find(since=time.time() + 20 * HOUR_S).look is not None


@pytest.mark.parametrize("status", [401, 403, 404, 405, 501])
def test_where_the_list_is_refused_nobody_can_tell(sender, status):
    sender.fake.troubles.append(Trouble("list", status=status))
    found = sender.find()
    assert (found.look, found.candidates) == (None, ())
    assert str(status) in found.unknown
    assert "\n" not in found.unknown


@pytest.mark.parametrize(
    ("trouble", "failure_class"),
    [
        (Trouble("list", status=429), FailureClass.RATE_LIMIT),
        (Trouble("list", status=503), FailureClass.OVERLOAD),
        (Trouble("list", n=9), FailureClass.TIMEOUT),
        (Trouble("list", status=200, body="{}"), FailureClass.OVERLOAD),
    ],
)
def test_where_the_list_fails_it_is_asked_for_later(sender, trouble, failure_class):
    lose_submit(sender)
    sender.fake.troubles.append(Trouble(**vars(trouble)))
    assert sender.fail(sender.find).failure_class is failure_class


def test_a_list_that_never_ends_is_left(sender, key, monkeypatch):
    monkeypatch.setattr(calls, "MAX_PAGES", 2)
    sender.fake.add_others(sender.model.provider, 250, owner=key, n_items=7)
    assert "pages" in str(sender.fail(sender.find))


def test_a_candidate_whose_results_are_not_shown_stays_one(anthropic):
    lose_submit(anthropic)
    anthropic.fake.troubles.append(Trouble("results", status=404))
    assert anthropic.find().candidates == (anthropic.only.provider_id,)


def test_a_candidate_whose_results_are_not_to_be_had_now_is_no_answer(anthropic):
    lose_submit(anthropic)
    anthropic.fake.troubles.append(Trouble("results", status=503))
    assert anthropic.fail(anthropic.find).failure_class is FailureClass.OVERLOAD


@pytest.mark.parametrize("provider_id", ["../files", "a/b", "..", "", "a?b", "a%2fb", "a#b", "x" * 300, "a\n"])
def test_an_id_that_would_lead_elsewhere_is_never_asked_for(sender, provider_id):
    for step in (sender.look, sender.cancel):
        failed = sender.fail(lambda step=step: step(provider_id) if provider_id else step(" "))
        assert failed.failure_class is FailureClass.BAD_REQUEST
    assert sender.provider.calls == []


@pytest.mark.parametrize("on", ["look", "create"])
def test_an_id_of_an_answer_that_would_lead_elsewhere_is_not_taken(sender, on):
    sender.submit()
    body = '{"id": "../../admin", "status": "completed", "processing_status": "ended"}'
    sender.fake.troubles.append(Trouble(on, status=200, body=body))
    assert "not a batch" in str(sender.fail(sender.look if on == "look" else sender.submit))


def test_a_file_of_an_answer_that_would_lead_elsewhere_is_not_taken(openai):
    openai.submit()
    body = '{"id": "batch_1", "status": "completed", "output_file_id": "../models"}'
    openai.fake.troubles.append(Trouble("look", status=200, body=body))
    assert "not a batch" in str(openai.fail(openai.look))
