"""A secret that opens a sink is read, used, and stands nowhere afterwards, whatever the other side answers."""

from __future__ import annotations

import threading
import time
import traceback
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import zstandard

from overnight.approve import find_standing
from overnight.deliver import deliver_release
from overnight.failures import OvernightError, RunHalted
from overnight.records import Approval
from overnight.report.measure import measure, render_markdown
from overnight.sinks import DeliveryDeferred
from tests.conftest import RUN, House
from tests.fakes.smtp import FakeSmtp

CANARY = "canary-7f3a9c1e5d"
NEEDLES = [CANARY.encode(), b64encode(CANARY.encode()), b64encode(f"\0ada\0{CANARY}".encode())]


class _Parrot(ThreadingHTTPServer):
    """Answers every row with a status, and with the credential that came with it, in the reason and in the body."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.reason = status, reason
        self.heard: list[str] = []
        self.uri = f"http://127.0.0.1:{self.server_port}/rows"


class _Handler(BaseHTTPRequestHandler):
    server: _Parrot

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        heard = self.headers["authorization"]
        self.server.heard.append(heard)
        said = f"you sent {heard}, that is {heard.split()[-1]}".encode()
        self.send_response(self.server.status, self.server.reason)
        self.send_header("content-length", str(len(said)))
        self.send_header("retry-after", "0")
        self.send_header("x-you-sent", heard)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def open_parrot(status: int, reason: str) -> Iterator[_Parrot]:
    with _Parrot(status, reason) as parrot:
        thread = threading.Thread(target=parrot.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield parrot
        finally:
            parrot.shutdown()
            thread.join()


def hide(house: House) -> None:
    """Put the canary where the sinks' credentials are."""
    house.settings.credentials.mkdir(parents=True)
    path = house.settings.credentials / "127.0.0.1"
    path.write_text(CANARY + "\n")
    path.chmod(0o600)


def deliver(house: House, sink: str) -> str:
    """What is to be seen of a delivery and of one more try, be it receipts or errors with all that stands behind."""
    house.approve(house.offer(2, sink=sink))
    seen = []
    for _ in range(2):
        approval = find_standing(house.ledger, RUN, sink, now=time.time())
        assert isinstance(approval, Approval)
        try:
            seen.append(repr(deliver_release(approval, ledger=house.ledger, settings=house.settings)))
        except OvernightError as error:
            seen += [str(error), repr(error), *traceback.format_exception(error)]
    return "\n".join(seen)


def read_all(house: House) -> Iterator[tuple[str, bytes]]:
    """Every byte below the home but for the credentials, with the ledger's bodies unpacked, and its reports."""
    for path in house.home.rglob("*"):
        if path.is_file() and path.parent != house.settings.credentials:
            yield path.name, path.read_bytes()
    for (data,) in house.fetch("SELECT data FROM bodies"):
        yield "a body", zstandard.ZstdDecompressor().decompress(data, max_output_size=10_000_000)
    report = measure(RUN, ledger=house.ledger, place=house.home, now=3.0)
    yield "the report", (repr(report) + render_markdown(report)).encode()


def count_canaries(house: House, seen: str, caplog: pytest.LogCaptureFixture) -> int:
    found = [*read_all(house), ("a receipt or an error", seen.encode()), ("the log", caplog.text.encode())]
    assert {"ledger.sqlite", "ledger.sqlite-wal", "a body"} <= {where for where, _ in found}
    return len([(where, needle) for where, data in found for needle in NEEDLES if needle in data])


STATUSES = [(200, "delivered"), (422, "failed"), *((status, "promised") for status in (307, 401, 403, 503))]


#: What stands behind the status.
SAID = ["as you like", f"for Bearer {CANARY}"]


@pytest.mark.parametrize("said", SAID, ids=["plain", "reason"])
@pytest.mark.parametrize(("status", "state"), STATUSES)
def test_a_receiver_that_repeats_the_credential_brings_it_nowhere(
    status: int, state: str, said: str, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    hide(house)
    with open_parrot(status, said) as parrot:
        seen = deliver(house, parrot.uri)
        n_found = count_canaries(house, seen, caplog)
        # It was used, so that there was something to leak.
        assert set(parrot.heard) == {f"Bearer {CANARY}"}
    assert {row[0] for row in house.fetch("SELECT state FROM outbox")} == {state}
    assert n_found == 0


def test_a_mail_server_without_tls_gets_no_password_and_the_refusal_holds_none(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    hide(house)
    with FakeSmtp(logins={"ada": "another"}) as smtp, pytest.raises(DeliveryDeferred, match="no password") as refused:
        deliver_and_raise(house, smtp.name(user="ada"))
    assert not [line for line in smtp.heard for needle in NEEDLES if needle.decode() in line]
    assert count_canaries(house, "".join(traceback.format_exception(refused.value)), caplog) == 0


def test_a_database_that_is_away_brings_the_password_nowhere(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    hide(house)
    with pytest.raises((DeliveryDeferred, RunHalted)) as away:
        deliver_and_raise(house, "postgresql://ada@127.0.0.1:1/crm?table=leads")
    assert count_canaries(house, "".join(traceback.format_exception(away.value)), caplog) == 0


def deliver_and_raise(house: House, sink: str) -> None:
    approval = house.approve(house.offer(2, sink=sink))
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
