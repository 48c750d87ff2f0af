from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from overnight.failures import ModelRefused
from overnight.llm import ModelRef, endpoint_of, parse_model
from overnight.llm.batches import MAX_BYTES_BESIDE, BatchItem, find_limits, make_batch_client
from overnight.records import ItemKind
from tests.fakes.answers import name_body


def test_a_batch_is_sent_looked_at_and_read(sender):
    sender.fake.ends_after = 1
    sent = sender.submit()
    assert (sent.is_ended, sent.refused) == (False, None)
    assert sender.only.custom_ids == [item.custom_id for item in sender.pack()]
    assert [item.body for item in sender.only.items] == [json.loads(item.body) for item in sender.pack()]
    assert not sender.look().is_ended
    look = sender.look()
    assert (look.provider_id, look.is_ended, look.n_items, look.n_done) == (sent.provider_id, True, 3, 3)
    assert look.expires_at - look.created_at == pytest.approx(24 * 3600, abs=1)
    results = sender.read(look)
    assert [(r.kind, r.status) for r in results] == [(ItemKind.ANSWERED, 200)] * 3
    assert {r.custom_id for r in results} == set(sender.only.custom_ids)


def test_openai_gets_a_file_and_a_batch_that_our_id_marks(openai):
    openai.submit()
    assert [call.path for call in openai.provider.calls] == ["POST /v1/files", "POST /v1/batches"]
    assert openai.only.metadata == {"overnight": openai.batch_id}


def test_an_items_bytes_stand_in_the_batch_unchanged(sender):
    # Otherwise a batch's request would not be the one that its key stands for.
    body = '{"model":"m" ,  "messages":[],"a":1.50,"ä":"\\u00e4\\n"}'.encode()
    item = BatchItem(sender.pack(1)[0].custom_id, body)
    sender.run(lambda client: client.submit(sender.batch_id, [item], 1))
    assert body in sender.only.raw
    assert sender.only.items[0].body == json.loads(body)


def test_each_exchange_carries_the_providers_headers(sender, key):
    sender.submit()
    sender.read()
    for call in sender.provider.calls:
        if sender.model.provider == "openai":
            assert call.headers["authorization"] == f"Bearer {key}"
        else:
            assert (call.headers["x-api-key"], call.headers["anthropic-version"]) == (key, "2023-06-01")


def test_results_come_in_any_order_and_name_their_requests(sender):
    sender.fake.seed = 7
    sender.submit(20)
    results = sender.read()
    assert [r.custom_id for r in results] != sender.only.custom_ids
    assert sorted(r.custom_id for r in results) == sorted(sender.only.custom_ids)
    for n, result in sender.read_by_number().items():
        assert f"Frage {n}" in json.dumps(sender.only.items[n].body, ensure_ascii=False)
        assert result.custom_id == sender.only.items[n].custom_id


def test_every_item_is_billed_once_however_often_it_is_looked_at(sender):
    sender.submit(5)
    for _ in range(3):
        sender.look()
        sender.read()
    assert set(sender.fake.executed.values()) == {1}
    assert sender.provider.billed == {name_body(item.body): 1 for item in sender.only.items}


def test_progress_is_shown_where_the_provider_shows_it(openai, anthropic):
    for sender in (openai, anthropic):
        sender.fake.ends_after, sender.fake.progress = None, 0.5
        sender.submit(10)
    shown = [s.look(b.provider_id) for s, b in zip((openai, anthropic), openai.fake.received, strict=True)]
    assert [(look.n_items, look.n_done) for look in shown] == [(10, 5), (10, 0)]


def test_a_key_mark_tells_keys_apart_and_does_not_tell_them(sender, monkeypatch, key):
    marks = set()
    for given in (key, key, key + "2"):
        monkeypatch.setenv("OPENAI_API_KEY", given)
        monkeypatch.setenv("ANTHROPIC_API_KEY", given)

        async def read_mark(client):
            return client.key_mark

        marks.add(sender.run(read_mark))
    assert len(marks) == 2
    assert all(len(mark) == 12 and int(mark, 16) >= 0 and mark not in key for mark in marks)


def test_a_batch_of_another_key_is_not_found(sender, monkeypatch):
    sender.submit()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-0123456789")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-another-0123456789")
    assert sender.fail(sender.look).reply.status == 404


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_limits_are_the_providers_own(provider):
    limits = find_limits(ModelRef(provider, "m"))
    assert (limits.n_items, limits.n_bytes) == {"openai": (50_000, 200_000_000), "anthropic": (100_000, 256_000_000)}[
        provider
    ]


async def _make(model):
    await make_batch_client(model, endpoint=endpoint_of(model), timeout_s=1)


def test_the_embedded_model_has_no_batches():
    local = parse_model("local:smollm2-135m")
    assert find_limits(local) is None
    with pytest.raises(ModelRefused, match=r"no provider batches.*--mode online") as caught:
        asyncio.run(_make(local))
    assert "\n" not in str(caught.value)


def test_what_stands_beside_a_body_stays_under_its_bound(sender):
    item = BatchItem("x" * 64, sender.pack(1)[0].body)
    sender.run(lambda client: client.submit(sender.batch_id, [item], 1))
    assert len(sender.only.raw) - len(item.body) < MAX_BYTES_BESIDE


def test_the_fake_serves_batches_to_other_processes(monkeypatch, sender):
    command = [sys.executable, "-m", "tests.fakes.provider"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        try:
            urls = [process.stdout.readline().strip() for _ in range(2)]
            endpoint = urls[sender.model.provider == "anthropic"]
            items = sender.pack()
            sent = sender.run(lambda client: client.submit(sender.batch_id, items, 3), endpoint)
            looks = [sender.run(lambda client: client.look(sent.provider_id), endpoint) for _ in range(2)]
            assert [look.is_ended for look in looks] == [False, True]
        finally:
            process.terminate()
