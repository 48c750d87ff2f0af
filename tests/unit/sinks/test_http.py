import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from overnight.failures import SinkRefused
from overnight.payloads import make_payload
from overnight.sinks import DeliveryFailed, DeliveryUnsure, HttpSink, open_sink
from overnight.sinks.http import _read_retry_after_s

HOSTS = frozenset({"127.0.0.1"})
TOKEN = "s3cret"  # noqa: S105 - opens nothing; the tests look for it in messages


class Receiver(HTTPServer):
    """Answers from a script, the last entry for ever; keeps what it was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = [(200, {}, b"")]
        self.seen = []
        self.uri = f"http://127.0.0.1:{self.server_port}/in"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, dict(self.headers), body))
        script = self.server.script
        status, headers, said = script.pop(0) if len(script) > 1 else script[0]
        if status == 0:
            return  # the connection ends without an answer
        self.send_response(status)
        for name, value in {"content-length": str(len(said)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sink(receiver):
    sink = open_sink(receiver.uri, allow_hosts=HOSTS, token=TOKEN, retry_base_s=0.0)
    yield sink
    sink.close()


@pytest.fixture
def payload(receiver):
    row = {"row_id": "1", "output": {"a": "é"}, "request_key": "k", "prompt_hash": "h", "model": "local:tiny"}
    return make_payload(row, sink=receiver.uri)


def test_exactly_the_bytes_arrive_under_their_key(receiver, sink, payload):
    assert sink.send(payload) == "HTTP 200"
    [(path, headers, body)] = receiver.seen
    headers = {name.lower(): value for name, value in headers.items()}
    assert (path, body) == ("/in", payload.body)
    assert headers["idempotency-key"] == payload.delivery_key
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 0])
def test_a_passing_fault_is_tried_again_under_the_same_key(receiver, sink, payload, status):
    receiver.script = [(status, {}, b""), (201, {}, b"")]
    assert sink.send(payload) == "HTTP 201"
    assert len({(headers["idempotency-key"], body) for _, headers, body in receiver.seen}) == 1
    assert len(receiver.seen) == 2


def test_after_four_attempts_the_delivery_is_unsure(receiver, sink, payload):
    receiver.script = [(503, {}, b"")]
    with pytest.raises(DeliveryUnsure, match=r"Row 1 may not have reached .* after 4 attempts \(HTTP 503\)"):
        sink.send(payload)
    assert len(receiver.seen) == 4


def test_a_refusal_is_final_and_quotes_the_receiver_without_the_token(receiver, sink, payload):
    receiver.script = [(422, {}, b"no s3cret\nfor you " + b"x" * 500)]
    with pytest.raises(DeliveryFailed, match="HTTP 422") as caught:
        sink.send(payload)
    assert len(receiver.seen) == 1
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407])
def test_a_status_that_speaks_of_the_token_or_the_address_gives_no_row_up(receiver, sink, payload, status):
    receiver.script = [(status, {}, b"no s3cret\nfor you")]
    with pytest.raises(DeliveryUnsure, match=f"takes no rows now: HTTP {status}.*Check OVERNIGHT_SINK_TOKEN") as caught:
        sink.send(payload)
    assert len(receiver.seen) == 1
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_gives_no_row_up(receiver, sink, payload, status):
    receiver.script = [(status, {"location": receiver.uri + "/elsewhere"}, b"")]
    with pytest.raises(DeliveryUnsure, match=f"HTTP {status}"):
        sink.send(payload)
    assert len(receiver.seen) == 1


@pytest.mark.parametrize("status", [300, 304, 305])
def test_another_answer_of_the_300s_gives_no_row_up_either(receiver, sink, payload, status):
    receiver.script = [(status, {}, b"")]
    with pytest.raises(DeliveryUnsure, match=f"HTTP {status}"):
        sink.send(payload)


def test_retry_after_sets_the_wait(receiver, payload):
    # A first wait of an hour would run into the time limit of the test: the header must win.
    sink = HttpSink(receiver.uri, allow_hosts=HOSTS, retry_base_s=3600.0)
    receiver.script = [(429, {"retry-after": "0"}, b""), (200, {}, b"")]
    assert sink.send(payload) == "HTTP 200"
    sink.close()


def test_retry_after_may_be_a_number_a_date_or_nonsense():
    def read(said):
        return _read_retry_after_s(httpx.Response(429, headers={"retry-after": said}))

    later = datetime.now(UTC) + timedelta(seconds=30)
    assert read("7") == 7.0
    assert 20 < read(format_datetime(later, usegmt=True)) <= 30
    assert read("soon") is None
    assert _read_retry_after_s(httpx.Response(429)) is None


def test_a_receiver_that_is_not_there_leaves_the_delivery_unsure(payload):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}/"
    sink = HttpSink(uri, allow_hosts=HOSTS, retry_base_s=0.0)
    with pytest.raises(DeliveryUnsure, match="ConnectError"):
        sink.send(payload)
    sink.close()


@pytest.fixture
def no_names(monkeypatch):
    """No host can be resolved."""

    def fail(*args, **named):
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)


def test_a_host_that_does_not_resolve_while_rows_are_sent_leaves_the_delivery_unsure(payload, no_names):
    sink = HttpSink("https://receiver.example/", allow_hosts=frozenset({"receiver.example"}), retry_base_s=0.0)
    with pytest.raises(DeliveryUnsure, match="ConnectError"):
        sink.send(payload)
    sink.close()


def test_a_host_that_cannot_be_found_is_refused_when_the_sink_is_opened(no_names):
    with pytest.raises(SinkRefused, match=r"host receiver\.example cannot be found now") as caught:
        open_sink("https://receiver.example/", allow_hosts=frozenset())
    assert "\n" not in str(caught.value)


def test_a_loopback_receiver_is_refused_when_the_sink_is_opened_unless_it_is_allowed(receiver):
    with pytest.raises(SinkRefused, match=r"OVERNIGHT_ALLOW_HOSTS"):
        open_sink(receiver.uri, allow_hosts=frozenset())
    assert receiver.seen == []


def test_proxy_settings_of_the_environment_are_not_read(receiver, payload, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    sink = HttpSink(receiver.uri, allow_hosts=HOSTS, retry_base_s=0.0)
    assert sink.send(payload) == "HTTP 200"
    sink.close()


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "schlüssel"])
def test_a_token_that_no_header_takes_is_refused_and_not_repeated(token):
    with pytest.raises(SinkRefused) as caught:
        open_sink("https://receiver.example/", allow_hosts=frozenset(), token=token)
    assert token not in str(caught.value)


def test_what_was_posted_cannot_be_undone():
    assert HttpSink.effect == "irreversible"
