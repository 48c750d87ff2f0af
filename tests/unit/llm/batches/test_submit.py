from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import replace

import pytest

from overnight.failures import CallFailed
from overnight.llm.batches import BatchItem, Limits, SubmitUnknown, client
from overnight.taxonomy import FailureClass
from tests.fakes.batches import Trouble

PLACES = ["drop_before", "drop_after", "500_before", "500_after", "cut_after", "misshapen_after"]


def make_trouble(place: str, on: str) -> Trouble:
    how, _, when = place.partition("_")
    plain = {
        "drop": Trouble(on),
        "500": Trouble(on, status=500),
        "cut": Trouble(on, cut_at=20),
        "misshapen": Trouble(on, status=200, body='{"hello": "proxy"}'),
    }[how]
    plain.is_done = when == "after"
    return plain


@pytest.mark.parametrize("place", PLACES)
def test_a_submit_whose_answer_is_lost_is_in_doubt(sender, place):
    sender.fake.troubles.append(make_trouble(place, "create"))
    failed = sender.fail(sender.submit)
    assert isinstance(failed, SubmitUnknown)
    assert sender.batch_id in str(failed)
    assert "not sent again" in str(failed)
    assert "sent again later" not in str(failed)
    assert len(sender.fake.received) == place.endswith("after")


@pytest.mark.parametrize("place", PLACES)
def test_an_upload_that_fails_leaves_no_doubt(openai, place):
    openai.fake.troubles.append(make_trouble(place, "upload"))
    assert not isinstance(openai.fail(openai.submit), SubmitUnknown)
    assert openai.fake.received == []


def test_a_submit_that_takes_too_long_is_in_doubt(sender):
    sender.fake.troubles.append(Trouble("create", is_done=True, delay_s=30))
    failed = sender.fail(replace(sender, timeout_s=0.3).submit)
    assert isinstance(failed, SubmitUnknown)
    assert failed.failure_class is FailureClass.TIMEOUT


@pytest.mark.parametrize(
    ("status", "failure_class"),
    [
        (400, FailureClass.BAD_REQUEST),
        (401, FailureClass.AUTH),
        (404, FailureClass.AUTH),
        (413, FailureClass.TOO_LARGE),
        (429, FailureClass.RATE_LIMIT),
        (307, FailureClass.AUTH),
    ],
)
def test_a_refused_submit_was_not_received(sender, status, failure_class):
    sender.fake.troubles.append(Trouble("create", status=status))
    failed = sender.fail(sender.submit)
    assert not isinstance(failed, SubmitUnknown)
    assert failed.failure_class is failure_class


@pytest.mark.parametrize("status", [408, 409, 502, 529])
def test_a_status_that_may_come_after_the_request_was_handed_on_is_in_doubt(sender, status):
    sender.fake.troubles.append(Trouble("create", status=status, is_done=True))
    assert isinstance(sender.fail(sender.submit), SubmitUnknown)


def test_without_a_connection_nothing_was_received(sender):
    items = sender.pack()
    failed = sender.fail(
        lambda: sender.run(lambda c: c.submit(sender.batch_id, items, 3), endpoint="http://127.0.0.1:9")
    )
    assert failed.failure_class is FailureClass.CONNECT
    assert not isinstance(failed, SubmitUnknown)


def test_a_body_that_was_not_sent_whole_was_not_received(anthropic):
    # The other side has closed before the end came: what it holds is no JSON.
    items = [BatchItem(f"k-{anthropic.batch_id}-{n:x}", b'{"x":"' + b"x" * 100_000 + b'"}') for n in range(200)]

    async def submit() -> CallFailed:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1000)
            writer.transport.abort()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            batches = await client.make_batch_client(anthropic.model, endpoint=endpoint, timeout_s=5)
            with pytest.raises(CallFailed) as caught:
                await batches.submit(anthropic.batch_id, items, len(items))
            await batches.aclose()
        return caught.value

    failed = asyncio.run(submit())
    assert not isinstance(failed, SubmitUnknown)
    assert failed.failure_class is FailureClass.TIMEOUT


def test_a_key_that_is_echoed_stands_in_no_doubt(sender, key):
    sender.fake.troubles.append(Trouble("create", status=500, body=f'{{"error": {{"message": "Bad {key}"}}}}'))
    assert "[secret removed]" in str(sender.fail(sender.submit))


def test_what_a_provider_refuses_is_a_refusal(sender):
    sender.fake.max_bytes = 100
    failed = sender.fail(sender.submit)
    assert (failed.failure_class, sender.fake.received) == (FailureClass.TOO_LARGE, [])


@pytest.mark.parametrize("limits", [Limits(2, 10**9), Limits(10, 300)])
def test_more_than_the_limits_is_never_sent(sender, monkeypatch, limits):
    monkeypatch.setitem(client._LIMITS, sender.model.provider, limits)  # noqa: SLF001 - the provider's own are too large
    assert "nothing was sent" in str(sender.fail(sender.submit))
    assert sender.provider.calls == []


def test_a_batch_of_another_length_than_announced_is_never_sent(sender):
    items = sender.pack(2)
    for n in (0, 3):
        given = items[: n and 2]
        failed = sender.fail(lambda n=n, given=given: sender.run(lambda c: c.submit(sender.batch_id, given, n)))
        assert "announced" in str(failed)
    assert sender.provider.calls == []


def test_a_custom_id_that_a_provider_refuses_is_never_sent(sender):
    items = [BatchItem("a/b", b"{}")]
    assert "a/b" in str(sender.fail(lambda: sender.run(lambda c: c.submit(sender.batch_id, items, 1))))
    assert sender.provider.calls == []


def test_a_full_disk_is_a_failure_before_anything_was_sent(sender, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    failed = sender.fail(sender.submit)
    assert "/nonexistent" in str(failed)
    assert sender.provider.calls == []


def test_the_same_custom_id_twice_is_refused_as_each_provider_does(openai, anthropic):
    def submit(sender):
        return sender.run(lambda c: c.submit(sender.batch_id, sender.pack(1) * 2, 2))

    assert anthropic.fail(lambda: submit(anthropic)).failure_class is FailureClass.BAD_REQUEST
    assert not submit(openai).is_ended
    assert openai.look().refused == (400, "duplicate_custom_id", "The custom_id of a line is that of another one")


@pytest.mark.parametrize(
    ("code", "status"), [("token_limit_exceeded", 429), ("model_not_found", 404), ("mismatched_model", 400)]
)
def test_a_batch_that_failed_as_a_whole_says_why(openai, code, status):
    openai.fake.fails.append((code, "As\ntold"))
    openai.submit()
    look = openai.look()
    assert (look.status, look.is_ended, look.refused) == ("failed", True, (status, code, "As told"))
    assert openai.read(look) == []
    assert not openai.fake.executed


def test_a_process_that_dies_between_the_two_steps_leaves_a_file_and_no_batch(openai):
    script = f"""
import asyncio
from overnight.llm import ModelRef
from overnight.llm.batches import BatchItem, make_batch_client
async def main():
    client = await make_batch_client(
        ModelRef("openai", "gpt-fake"), endpoint={openai.provider.openai_base_url!r}, timeout_s=5
    )
    await client.submit("0123456789abcdef", [BatchItem("a-0123456789abcdef-1", b'{{"model": "m"}}')], 1)
asyncio.run(main())
"""
    environment = {**os.environ, "OVERNIGHT_FAILPOINT": "batch-uploaded"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [call.path for call in openai.provider.calls] == ["POST /v1/files"]
    assert openai.find(1).look is None


def test_memory_does_not_grow_with_a_batch(sender):
    # 5,000 requests of 4 KB, 20 MB in all, from an iterator and back.
    filler = b"x" * 4000
    items = (
        BatchItem(f"{n:024x}-{sender.batch_id}-{n:x}", b'{"model":"m","messages":[],"x":"' + filler + b'"}')
        for n in range(5000)
    )
    peaks = {}

    async def work(batches):
        look = await batches.submit(sender.batch_id, items, 5000)
        peaks["submit"] = tracemalloc.get_traced_memory()[1]
        return look

    # The fake's own memory is not what is measured: it runs in another process.
    with subprocess.Popen([sys.executable, "-m", "tests.fakes.provider"], stdout=subprocess.PIPE, text=True) as process:
        try:
            urls = [process.stdout.readline().strip() for _ in range(2)]
            endpoint = urls[sender.model.provider == "anthropic"]
            sender.run(lambda c: c.submit(sender.batch_id, sender.pack(1), 1), endpoint)  # imports
            tracemalloc.start()
            sent = sender.run(work, endpoint)

            async def read(batches):
                while not (look := await batches.look(sent.provider_id)).is_ended:
                    pass
                tracemalloc.reset_peak()
                n = 0
                async for _ in batches.read_results(look):
                    n += 1
                peaks["read"] = tracemalloc.get_traced_memory()[1]
                return n

            assert sender.run(read, endpoint) == 5000
        finally:
            tracemalloc.stop()
            process.terminate()
    assert max(peaks.values()) < 4_000_000, peaks
