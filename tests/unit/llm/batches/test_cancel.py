from __future__ import annotations

from dataclasses import replace

import pytest

from overnight.records import ItemKind
from overnight.taxonomy import FailureClass
from tests.fakes.batches import Trouble


def test_a_cancel_takes_its_time_and_keeps_what_was_answered_by_then(sender):
    sender.fake.ends_after, sender.fake.cancel_looks = None, 2
    sender.submit(4)
    first = set(sender.only.custom_ids[:1])
    sender.fake.is_done_at_cancel = lambda item: item.custom_id in first
    assert not sender.cancel().is_ended
    assert [sender.look().is_ended for _ in range(2)] == [False, True]
    kinds = {result.custom_id: result.kind for result in sender.read()}
    assert [kinds[custom_id] for custom_id in sender.only.custom_ids] == [ItemKind.ANSWERED, *[ItemKind.CANCELED] * 3]
    assert set(sender.fake.executed) == first


def test_a_cancel_that_comes_too_late_shows_the_end(sender):
    sender.submit()
    assert sender.look().is_ended
    assert sender.cancel().is_ended


def test_a_cancel_that_is_refused_while_it_goes_on_says_so(sender):
    sender.fake.ends_after = None
    sender.submit()
    sender.fake.troubles.append(Trouble("cancel", status=400))
    assert sender.fail(sender.cancel).failure_class is FailureClass.BAD_REQUEST


@pytest.mark.parametrize("on", ["look", "cancel"])
def test_what_the_provider_does_not_know_is_told(sender, on):
    failed = sender.fail(lambda: (sender.look if on == "look" else sender.cancel)("batch_0000"))
    assert failed.reply.status == 404


def test_a_slow_look_is_cut_off(sender):
    sender.submit()
    sender.fake.troubles.append(Trouble("look", is_done=True, delay_s=30))
    failed = sender.fail(replace(sender, timeout_s=0.2).look)
    assert failed.failure_class is FailureClass.TIMEOUT
    assert "billed" not in str(failed)


def test_a_redirect_of_a_look_is_not_followed(sender):
    sender.submit()
    sender.fake.troubles.append(Trouble("look", status=307))
    n_calls = len(sender.provider.calls)
    assert sender.fail(sender.look).failure_class is FailureClass.AUTH
    assert len(sender.provider.calls) == n_calls + 1


def test_a_status_that_is_not_known_is_shown_and_no_end(sender):
    sender.submit()
    body = '{"id": "batch_1", "status": "queued", "processing_status": "queued"}'
    sender.fake.troubles.append(Trouble("look", status=200, body=body))
    look = sender.look()
    assert (look.status, look.is_ended) == ("queued", False)
