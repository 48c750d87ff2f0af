from __future__ import annotations

import asyncio
import gzip
import socket
import time
import zlib

import pytest

from overnight.failures import CallFailed
from overnight.llm import exchange, make_client
from overnight.taxonomy import FailureClass
from tests.fakes.provider import FakeProvider, Scripted


def find_closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def test_a_server_that_drips_is_cut_off_at_the_deadline(asker):
    asker.fake.answer = lambda _: Scripted(drip=0.05)
    started = time.monotonic()
    failed = asker.fail(timeout_s=0.4)
    assert time.monotonic() - started < 3
    assert failed.failure_class is FailureClass.TIMEOUT
    assert failed.reply is not None
    assert failed.reply.request_id == "req_1"
    assert 0 < len(failed.reply.body) < 50


def test_a_server_that_says_nothing_is_cut_off_at_the_deadline(asker):
    asker.fake.answer = lambda _: Scripted(delay_s=60)
    failed = asker.fail(timeout_s=0.2)
    assert (failed.failure_class, failed.reply) == (FailureClass.TIMEOUT, None)


def test_a_connection_that_is_dropped_is_not_mistaken_for_one_that_never_was(asker):
    asker.fake.answer = lambda _: Scripted(drop=True)
    failed = asker.fail()
    assert failed.failure_class is FailureClass.TIMEOUT
    assert len(asker.fake.calls) == 1


def test_a_cut_body_keeps_what_came(asker):
    asker.fake.answer = lambda _: Scripted(text="x" * 500, cut_at=100)
    failed = asker.fail()
    assert failed.failure_class is FailureClass.TIMEOUT
    assert failed.reply is not None
    assert failed.reply.body.startswith(b'{"id"')
    assert len(failed.reply.body) <= 100


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_closed_port_is_a_connect_failure(asker, host):
    failed = asker.fail(endpoint=f"http://{host}:{find_closed_port()}")
    assert failed.failure_class is FailureClass.CONNECT
    assert "base URL" in str(failed)


def test_a_host_without_an_address_is_a_connect_failure(asker):
    assert asker.fail(endpoint="http://no-such-host.invalid").failure_class is FailureClass.CONNECT


def test_a_failed_tls_handshake_is_a_connect_failure(asker):
    failed = asker.fail(endpoint=f"https://127.0.0.1:{asker.fake.port}")
    assert failed.failure_class is FailureClass.CONNECT
    assert asker.fake.calls == []


def test_what_is_not_http_is_a_broken_answer(asker):
    async def serve_and_ask() -> CallFailed:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 smtp.example ready\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            client = await make_client(asker.model, endpoint=f"http://127.0.0.1:{port}", timeout_s=5, concurrency=1)
            with pytest.raises(CallFailed) as caught:
                await client.send(b"{}")
            await client.aclose()
        return caught.value

    assert asyncio.run(serve_and_ask()).failure_class is FailureClass.TIMEOUT


def test_a_body_past_the_limit_is_cut_off(asker, monkeypatch):
    monkeypatch.setattr(exchange, "MAX_BODY_BYTES", 1000)
    asker.fake.answer = lambda _: Scripted(text="x" * 50_000)
    failed = asker.fail()
    assert failed.failure_class is FailureClass.TOO_LARGE
    assert len(failed.reply.body) == 1000


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_unpacked(openai, encoding, pack):
    body = b'{"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}'
    openai.fake.answer = lambda _: Scripted(body=pack(body), headers={"content-encoding": encoding})
    assert openai.ask().body == body
    assert openai.fake.calls[0].headers["accept-encoding"] == "gzip, deflate"


def test_a_body_that_is_said_to_be_packed_and_is_not_is_a_broken_answer(asker):
    asker.fake.answer = lambda _: Scripted(body="{}", headers={"content-encoding": "gzip"})
    assert asker.fail().failure_class is FailureClass.TIMEOUT


def test_a_packed_body_past_the_limit_is_cut_off(asker, monkeypatch):
    monkeypatch.setattr(exchange, "MAX_BODY_BYTES", 1000)
    packed = gzip.compress(b"x" * 1_000_000)
    asker.fake.answer = lambda _: Scripted(body=packed, headers={"content-encoding": "gzip"})
    failed = asker.fail()
    assert failed.failure_class is FailureClass.TOO_LARGE
    assert len(failed.reply.body) == 1000


def test_a_redirect_is_not_followed(asker):
    with FakeProvider() as other:
        asker.fake.answer = lambda _: Scripted(status=307, body="", headers={"location": other.openai_base_url})
        asker.fail()
        assert other.calls == []


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_key_that_the_server_echoes_is_kept_nowhere(asker, key, status):
    body = {"error": {"message": f"Bad key {key}", "code": key}}
    asker.fake.answer = lambda _: Scripted(status=status, body=body, headers={"request-id": key})
    failed = asker.fail()
    assert key not in f"{failed} {failed.reply}"


def test_a_placeholder_key_does_not_disturb_an_answer(openai, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "ollama")
    openai.fake.answer = lambda _: {"evidence": "ollama is slow"}
    assert openai.ask().text == '{"evidence": "ollama is slow"}'


def test_calls_run_side_by_side_on_connections_that_are_kept(openai, ask):
    async def ask_many() -> None:
        url = openai.fake.openai_base_url
        client = await make_client(openai.model, endpoint=url, timeout_s=20, concurrency=64)
        body = client.encode(ask)
        for _ in range(2):
            await asyncio.gather(*(client.send(body) for _ in range(64)))
        await client.aclose()

    openai.fake.answer = lambda _: Scripted(delay_s=1.0)
    asyncio.run(ask_many())
    calls = openai.fake.calls
    # All 64 had arrived before the first was answered.
    assert calls[63].time - calls[0].time < 1.0
    assert len(calls) == 128
    assert len({call.client_port for call in calls}) == 64
