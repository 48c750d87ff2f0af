import contextlib
import shutil
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from overnight.failures import SinkRefused
from overnight.payloads import make_payload
from overnight.records import Payload
from overnight.sinks import DeliveryDeferred, DeliveryFailed, open_sink
from overnight.sinks.http import HttpSink, _read_retry_after_s
from tests.fakes.certificates import make_certificate, serve_tls

NAME = "receiver.example"
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
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
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
    sink = HttpSink(receiver.uri, allow_hosts=HOSTS, credential=TOKEN, retry_base_s=0.0)
    yield sink
    sink.close()


@pytest.fixture
def payload(receiver):
    row = {"row_id": "1", "output": {"a": "é"}, "request_key": "k", "prompt_hash": "h", "model": "local:tiny"}
    return make_payload(row, sink=receiver.uri)


def test_exactly_the_bytes_arrive_under_their_key(receiver, sink, payload):
    assert sink.send(payload) == "HTTP 200"
    [(path, headers, body)] = receiver.seen
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


def test_after_four_attempts_the_row_stays_promised(receiver, sink, payload):
    receiver.script = [(503, {}, b"")]
    with pytest.raises(DeliveryDeferred, match=r"Row 1 may not have reached .* after 4 attempts \(HTTP 503\)"):
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
def test_a_status_that_speaks_of_the_credential_or_the_address_gives_no_row_up(receiver, sink, payload, status):
    receiver.script = [(status, {}, b"no s3cret\nfor you")]
    with pytest.raises(DeliveryDeferred, match=f"takes no rows now: HTTP {status}.*Check its credential") as caught:
        sink.send(payload)
    assert len(receiver.seen) == 1
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_gives_no_row_up(receiver, sink, payload, status):
    receiver.script = [(status, {"location": receiver.uri + "/elsewhere"}, b"")]
    with pytest.raises(DeliveryDeferred, match=f"HTTP {status}"):
        sink.send(payload)
    assert len(receiver.seen) == 1


@pytest.mark.parametrize("status", [300, 304, 305])
def test_another_answer_of_the_300s_gives_no_row_up_either(receiver, sink, payload, status):
    receiver.script = [(status, {}, b"")]
    with pytest.raises(DeliveryDeferred, match=f"HTTP {status}"):
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


def test_a_receiver_that_is_not_there_leaves_the_row_promised(payload):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}/"
    sink = HttpSink(uri, allow_hosts=HOSTS, retry_base_s=0.0)
    with pytest.raises(DeliveryDeferred, match="ConnectError"):
        sink.send(payload)
    sink.close()


@pytest.fixture
def names(monkeypatch):
    """Where receiver.example leads: each look-up uses up an address but the last; at "" it is not found."""
    found = ["127.0.0.1"]
    real = socket.getaddrinfo

    def find(host, *args, **named):
        if host != NAME:
            return real(host, *args, **named)
        address = found.pop(0) if len(found) > 1 else found[0]
        if not address:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    return found


@pytest.fixture
def open_named(receiver):
    """Open the receiver by its name."""
    with contextlib.ExitStack() as stack:

        def open_named(*, allow=frozenset({NAME}), scheme="http"):
            name = f"{scheme}://{NAME}:{receiver.server_port}/in"
            return stack.enter_context(contextlib.closing(HttpSink(name, allow_hosts=allow, retry_base_s=0.0)))

        yield open_named


def test_a_receiver_is_asked_by_its_name(receiver, names, open_named, payload):
    open_named().send(payload)
    [(path, headers, _)] = receiver.seen
    assert (path, headers["host"]) == ("/in", f"{NAME}:{receiver.server_port}")


def test_the_row_goes_to_the_address_that_was_judged(receiver, names, open_named, payload):
    names[:] = ["127.0.0.1", "127.0.0.1", "127.0.0.9"]
    assert open_named().send(payload) == "HTTP 200"
    assert names == ["127.0.0.9"]


@pytest.mark.parametrize("later", ["127.0.0.1", "169.254.169.254"])
def test_a_name_that_leads_into_the_house_later_is_not_followed(receiver, names, open_named, payload, later):
    names[:] = ["8.8.8.8", later]
    sink = open_named(allow=frozenset())
    with pytest.raises(SinkRefused, match="not a public address"):
        sink.send(payload)
    assert receiver.seen == []


def test_after_a_connection_error_the_name_is_looked_up_again(receiver, names, open_named, payload):
    # Nothing listens at the second.
    names[:] = ["127.0.0.1", "127.0.0.9", "127.0.0.1"]
    assert open_named().send(payload) == "HTTP 200"


def test_after_an_answer_the_same_address_is_tried_again(receiver, names, open_named, payload):
    receiver.script = [(503, {}, b""), (200, {}, b"")]
    names[:] = ["127.0.0.1", "127.0.0.1", "127.0.0.9"]
    assert open_named().send(payload) == "HTTP 200"
    assert names == ["127.0.0.9"]


def test_a_receiver_that_has_moved_is_found_for_the_next_row(receiver, names, open_named, payload):
    sink = open_named()
    sink.send(payload)
    names[:] = ["127.0.0.9"]
    with pytest.raises(DeliveryDeferred, match="ConnectError"):
        sink.send(payload)


def test_an_address_of_the_sixth_version_is_put_in_brackets(names):
    sink = HttpSink("http://[::1]:8080/in", allow_hosts=frozenset({"::1"}))
    request = sink._make_request(Payload("1", b"", "d", "k"))  # noqa: SLF001 - not every machine has it on loopback
    sink.close()
    assert (str(request.url), request.headers["host"]) == ("http://[::1]:8080/in", "[::1]:8080")


def test_tls_verifies_the_name_and_not_the_address(receiver, names, open_named, payload, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("There is no openssl on this machine: install it to run this test.")
    asked = []
    context = serve_tls(make_certificate(tmp_path, NAME))
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    with pytest.raises(DeliveryDeferred, match="CERTIFICATE_VERIFY_FAILED"):
        open_named(scheme="https").send(payload)
    assert set(asked) == {NAME}
    assert receiver.seen == []


def test_a_host_that_does_not_resolve_while_rows_are_sent_leaves_the_row_promised(names, open_named, payload):
    sink = open_named()
    names[:] = [""]
    with pytest.raises(DeliveryDeferred, match=r"after 4 attempts .*receiver\.example cannot be found now"):
        sink.send(payload)


def test_a_host_that_is_found_again_gets_the_row(receiver, names, open_named, payload):
    names[:] = ["127.0.0.1", "", "127.0.0.1"]
    assert open_named().send(payload) == "HTTP 200"


def test_a_host_that_cannot_be_found_leaves_the_rows_promised_when_the_sink_is_opened(names):
    names[:] = [""]
    with pytest.raises(DeliveryDeferred, match=r"host receiver\.example cannot be found now") as caught:
        open_sink(f"https://{NAME}/", allow_hosts=frozenset())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]"])
def test_the_metadata_service_is_refused(host):
    with pytest.raises(SinkRefused, match=r"OVERNIGHT_ALLOW_HOSTS"):
        open_sink(f"http://{host}/latest/meta-data/", allow_hosts=frozenset())


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
        open_sink("https://receiver.example/", allow_hosts=frozenset(), credential=token)
    assert token not in str(caught.value)


def test_what_was_posted_cannot_be_undone_and_may_be_posted_again():
    assert (HttpSink.effect, HttpSink.operation, HttpSink.dedupes) == ("irreversible", "post", True)
    assert (HttpSink.n_at_once, HttpSink.replaces) == (1, False)
