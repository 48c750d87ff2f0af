import json
import shutil
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from overnight.failures import SinkRefused
from overnight.payloads import make_payload
from overnight.sinks import Consignment, DeliveryDeferred, DeliveryFailed, DeliveryUnknown, open_sink
from overnight.sinks.mail import MailSink
from tests.fakes.certificates import make_certificate, serve_tls
from tests.fakes.smtp import FakeSmtp, Fault

HOSTS = frozenset({"127.0.0.1"})
HOST = "mail.example"
PASSWORD = "s3cret pass"  # noqa: S105 - opens nothing; the tests look for it in messages


@pytest.fixture
def smtp():
    with FakeSmtp() as smtp:
        yield smtp


@pytest.fixture
def sink(smtp):
    with closing(open_sink(smtp.name(), allow_hosts=HOSTS)) as sink:
        yield sink


def make_row(n=1, text="Grüße\n.\n..\r\nFrom here =3D "):
    row = {"row_id": f"r{n}", "output": {"text": text}, "request_key": "k", "prompt_hash": "h", "model": "local:tiny"}
    return make_payload(row, sink="smtp://h/?from=a@b.example&to=c@d.example")


def refuse(sink, error, payload=None):
    """The one line that a row is refused with."""
    with pytest.raises(error) as caught:
        sink.send(payload or make_row())
    message = str(caught.value)
    assert "\n" not in message
    assert "s3cret" not in message
    return message


def test_exactly_the_bytes_arrive_as_a_message(smtp, sink):
    payload = make_row()
    assert sink.send(payload) == "SMTP 250, 'taken'"
    [mail] = smtp.messages
    assert mail.body == payload.body
    assert (mail.sender, mail.recipients) == ("night@example.com", ("ada@example.com",))
    assert (mail.subject, mail.message_id) == ("overnight: r1", f"<{payload.delivery_key}@overnight>")
    assert mail.message.get_content_type() == "text/plain"


def test_a_message_goes_once_to_all_who_are_named(smtp):
    with closing(MailSink(smtp.name(to="ada@example.com,bob@example.com"), allow_hosts=HOSTS)) as sink:
        sink.send(make_row())
    [mail] = smtp.messages
    assert mail.recipients == ("ada@example.com", "bob@example.com")
    assert mail.message["To"] == "ada@example.com, bob@example.com"


def test_rows_go_over_one_connection(smtp, sink):
    for n in (1, 2, 3):
        sink.send(make_row(n))
    assert [mail.connection for mail in smtp.messages] == [1, 1, 1]
    sink.close()
    assert smtp.heard[-1].upper() == "QUIT"


def test_a_connection_that_was_dropped_between_rows_is_opened_again(smtp, sink):
    sink.send(make_row(1))
    smtp.hang_up()
    sink.send(make_row(2))
    assert [(mail.subject, mail.connection) for mail in smtp.messages] == [("overnight: r1", 1), ("overnight: r2", 2)]


def test_a_quit_that_fails_is_nothing(smtp, sink):
    sink.send(make_row())
    smtp.hang_up()
    sink.close()


def test_a_sink_is_made_without_a_connection(smtp, sink):
    assert not smtp.counts["connect"]


def test_a_check_goes_as_far_as_the_recipients_and_sends_nothing(smtp, sink):
    sink.check(make_row())
    assert smtp.counts["rcpt"] == 1
    assert not smtp.counts["data"]
    sink.send(make_row())
    assert len(smtp.messages) == 1
    assert smtp.counts["connect"] == 1


def test_a_check_tells_of_a_recipient_that_is_refused(smtp, sink):
    smtp.faults.append(Fault("rcpt", 550))
    with pytest.raises(DeliveryDeferred, match="RCPT TO <ada@"):
        sink.check(make_row())


@pytest.mark.parametrize("code", [421, 451, 550, 554, None])
@pytest.mark.parametrize("at", ["connect", "ehlo", "mail", "rcpt", "data"])
def test_what_goes_wrong_before_the_data_leaves_the_row_promised(smtp, sink, at, code):
    smtp.faults.append(Fault(at, code, n=1))
    if at == "ehlo" and code:
        smtp.faults.append(Fault("ehlo", code))
    message = refuse(sink, DeliveryDeferred)
    assert "the row was not sent" in message
    assert smtp.messages == []
    smtp.faults.clear()
    sink.send(make_row())
    assert len(smtp.messages) == 1


@pytest.mark.parametrize(("at", "says"), [("mail", "MAIL FROM <night@example.com>"), ("rcpt", "RCPT TO <ada@")])
def test_a_refusal_before_the_data_names_the_address(smtp, sink, at, says):
    smtp.faults.append(Fault(at, 550, "5.7.1 not you"))
    message = refuse(sink, DeliveryDeferred)
    assert says in message
    assert "SMTP 550, '5.7.1 not you'" in message


def test_one_recipient_that_is_refused_stops_the_message(smtp):
    smtp.faults.append(Fault("rcpt", 550, n=2))
    with closing(MailSink(smtp.name(to="ada@example.com,bob@example.com"), allow_hosts=HOSTS)) as sink:
        assert "<bob@example.com>" in refuse(sink, DeliveryDeferred)
    assert smtp.messages == []


@pytest.mark.parametrize("code", [550, 552, 554])
def test_a_message_refused_for_good_is_failed_and_the_next_one_goes(smtp, sink, code):
    smtp.faults.append(Fault("end", code, "spam", match="r1"))
    first, second = sink.deliver(Consignment("release", [make_row(1), make_row(2)]))
    assert not first.is_delivered
    assert first.detail.startswith(f"The mail server 127.0.0.1 refused the message of row r1: SMTP {code}, 'spam'")
    assert second.is_delivered
    assert [mail.connection for mail in smtp.messages] == [1]


@pytest.mark.parametrize("code", [421, 451, 452])
def test_a_message_refused_for_now_stays_promised(smtp, sink, code):
    smtp.faults.append(Fault("end", code, n=1))
    assert f"did not take the message: SMTP {code}" in refuse(sink, DeliveryDeferred)
    sink.send(make_row())
    assert len(smtp.messages) == 1


@pytest.mark.parametrize("keeps", [True, False])
def test_an_answer_that_is_lost_leaves_open_whether_the_row_was_sent(smtp, sink, keeps):
    payload = make_row(2)
    smtp.faults.append(Fault("end", match=payload.delivery_key, keeps=keeps))
    sink.send(make_row(1))
    message = refuse(sink, DeliveryUnknown, payload)
    assert message.startswith("Row r2 may have been sent to ada@example.com by 127.0.0.1: the server's answer was lost")
    assert message.endswith(f"Look in the mailbox for Message-ID <{payload.delivery_key}@overnight>.")
    assert len(smtp.messages) == 1 + keeps
    sink.send(make_row(3))
    assert smtp.messages[-1].subject == "overnight: r3"


def test_an_answer_that_does_not_come_in_time_leaves_it_open_too(smtp):
    smtp.faults.append(Fault("end", keeps=True, hangs=True))
    with closing(MailSink(smtp.name(), allow_hosts=HOSTS, timeout_s=0.2)) as sink:
        refuse(sink, DeliveryUnknown)


def test_a_server_that_does_not_answer_before_the_data_leaves_the_row_promised(smtp):
    smtp.faults.append(Fault("rcpt", hangs=True))
    with closing(MailSink(smtp.name(), allow_hosts=HOSTS, timeout_s=0.2)) as sink:
        refuse(sink, DeliveryDeferred)


@pytest.mark.parametrize("code", [150, 354, 999])
def test_an_answer_that_means_nothing_leaves_it_open_and_ends_the_connection(smtp, sink, code):
    smtp.faults.append(Fault("end", code, n=1))
    assert f"(SMTP {code})" in refuse(sink, DeliveryUnknown)
    sink.send(make_row(2))
    assert [(mail.subject, mail.connection) for mail in smtp.messages] == [("overnight: r2", 2)]


def test_a_server_that_is_not_there_leaves_the_row_promised():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        name = f"smtp://127.0.0.1:{free.getsockname()[1]}/?from=a@b.example&to=c@d.example"
    message = refuse(MailSink(name, allow_hosts=HOSTS), DeliveryDeferred)
    assert "The mail server 127.0.0.1 cannot be sent to now" in message


def test_an_answer_that_breaks_the_line_is_quoted_on_one(smtp, sink):
    smtp.faults.append(Fault("end", 550, "a\x1b[1m\u2028b" + "x" * 500))
    message = refuse(sink, DeliveryFailed)
    assert "a\ufffd[1m\ufffdb" in message
    assert len(message) < 400


# What may be reached, and at which address.


@pytest.fixture
def names(monkeypatch):
    """Where names lead: each look-up uses up an address but the last; addresses lead to themselves."""
    found = {HOST: ["127.0.0.1"]}
    real = socket.getaddrinfo

    def find(host, *args, **named):
        if host not in found:
            return real(host, *args, **named)
        address = found[host].pop(0) if len(found[host]) > 1 else found[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    return found


def test_a_server_inside_the_house_is_refused_when_the_sink_is_made_unless_it_is_allowed(smtp):
    with pytest.raises(SinkRefused, match="OVERNIGHT_ALLOW_HOSTS"):
        open_sink(smtp.name(), allow_hosts=frozenset())


def test_a_name_that_leads_into_the_house_later_is_not_followed(smtp, names):
    names[HOST] = ["8.8.8.8", "127.0.0.1"]
    sink = MailSink(smtp.name(HOST), allow_hosts=frozenset())
    refuse(sink, SinkRefused)
    assert not smtp.counts["connect"]


def test_the_connection_goes_to_the_address_that_was_judged(smtp, names):
    names[HOST] = ["127.0.0.1", "127.0.0.1", "127.0.0.9"]
    with closing(MailSink(smtp.name(HOST), allow_hosts=frozenset({HOST}))) as sink:
        sink.send(make_row())
    assert names[HOST] == ["127.0.0.9"]
    assert len(smtp.messages) == 1


# TLS and logins.


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("There is no openssl on this machine: install it to run this test.")
    return make_certificate(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture(params=[False, True], ids=["starttls", "smtps"])
def secure(request, certificate, monkeypatch, names):
    """A server that takes ada's mail over TLS, with a certificate that is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with FakeSmtp(tls=serve_tls(certificate), wraps=request.param, logins={"ada@x": PASSWORD}) as smtp:
        yield smtp


def open_secure(smtp, host=HOST, credential=PASSWORD, user="ada@x"):
    names = frozenset({HOST, "other.example"})
    return closing(MailSink(smtp.name(host, user=user), allow_hosts=names, credential=credential))


def test_a_password_goes_over_tls(secure):
    with open_secure(secure) as sink:
        sink.send(make_row(1))
        sink.send(make_row(2))
    assert [(mail.user, mail.is_encrypted, mail.connection) for mail in secure.messages] == [("ada@x", True, 1)] * 2


def test_a_wrong_password_leaves_the_row_promised_and_is_not_repeated(secure):
    with open_secure(secure, credential="s3cret wrong") as sink:
        message = refuse(sink, DeliveryDeferred)
        assert "did not log ada@x in (SMTP 535)" in message
        # One that was not let in is not kept for the next row either.
        refuse(sink, DeliveryDeferred)
    assert secure.counts["mail"] == 0


def test_a_login_is_told_of_before_an_approval_is_used_up(secure):
    with open_secure(secure, credential="s3cret wrong") as sink, pytest.raises(DeliveryDeferred, match="SMTP 535"):
        sink.check(make_row())


def test_a_connection_that_ends_at_the_login_leaves_the_row_promised(secure):
    secure.faults.append(Fault("auth"))
    with open_secure(secure) as sink:
        assert "did not log ada@x in (SMTPServerDisconnected)" in refuse(sink, DeliveryDeferred)


def test_a_user_without_a_credential_leaves_the_row_promised(secure):
    with open_secure(secure, credential=None) as sink:
        assert "who has no credential" in refuse(sink, DeliveryDeferred)
    assert not secure.counts["connect"]


def test_a_server_that_repeats_the_password_does_not_bring_it_into_a_message(secure):
    plain = "AGFkYUB4AHMzY3JldCBwYXNz"  # as it went over the line
    secure.faults.append(Fault("end", 554, f"{PASSWORD} {plain}"))
    with open_secure(secure) as sink:
        message = refuse(sink, DeliveryFailed)
    assert any(plain in line for line in secure.heard)
    assert plain not in message


def test_a_certificate_for_another_name_is_not_taken(secure, names):
    names["other.example"] = ["127.0.0.1"]
    with open_secure(secure, "other.example") as sink:
        assert "SSLCertVerificationError" in refuse(sink, DeliveryDeferred)
    assert not any("AUTH" in line.upper() for line in secure.heard)


def test_a_certificate_that_nobody_trusts_is_not_taken(secure, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with open_secure(secure) as sink:
        assert "SSLCertVerificationError" in refuse(sink, DeliveryDeferred)
    assert not any("AUTH" in line.upper() for line in secure.heard)


def test_no_password_goes_over_an_open_line():
    with FakeSmtp(logins={"ada": PASSWORD}) as smtp:
        sink = MailSink(smtp.name(user="ada"), allow_hosts=HOSTS, credential=PASSWORD)
        assert "offers no STARTTLS, and no password" in refuse(sink, DeliveryDeferred)
        # Nor over the same line, once it stands.
        refuse(sink, DeliveryDeferred)
    assert {line[:4].upper() for line in smtp.heard} == {"EHLO"}


def test_no_row_leaves_the_house_over_an_open_line(smtp, monkeypatch):
    # The host is taken for a public one: nothing but the loopback address can be reached in a test.
    monkeypatch.setattr("overnight.sinks.addresses._is_public", lambda _: True)
    sink = MailSink(smtp.name(), allow_hosts=frozenset())
    message = refuse(sink, DeliveryDeferred)
    assert "offers no STARTTLS, and no row leaves the house" in message
    assert "add 127.0.0.1 to OVERNIGHT_ALLOW_HOSTS" in message
    refuse(sink, DeliveryDeferred)
    assert {line[:4].upper() for line in smtp.heard} == {"EHLO"}


def test_starttls_is_used_where_it_is_offered_though_nothing_demands_it(certificate, monkeypatch, names):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with FakeSmtp(tls=serve_tls(certificate)) as smtp, open_secure(smtp, credential=None, user="") as sink:
        sink.send(make_row())
    assert smtp.messages[0].is_encrypted


@pytest.mark.parametrize("credential", ["s3cret\n", "s3crét", "s3cret\0"])
def test_a_credential_that_no_login_takes_is_refused_and_not_repeated(smtp, credential):
    with pytest.raises(SinkRefused, match="not printable ASCII") as caught:
        open_sink(smtp.name(user="ada"), allow_hosts=HOSTS, credential=credential)
    assert credential not in str(caught.value)


def test_a_credential_without_a_user_is_refused(smtp):
    with pytest.raises(SinkRefused, match="no user"):
        open_sink(smtp.name(), allow_hosts=HOSTS, credential=PASSWORD)


def test_what_a_mailbox_can_bear():
    assert (MailSink.effect, MailSink.operation, MailSink.dedupes) == ("irreversible", "send", False)
    assert (MailSink.n_at_once, MailSink.replaces) == (1, False)


def test_the_server_serves_other_processes_and_writes_down_what_it_took(tmp_path):
    log = tmp_path / "mail.jsonl"
    command = [sys.executable, "-m", "tests.fakes.smtp", str(log), "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip()
        name = f"smtp://127.0.0.1:{port}/?from=a@b.example&to=c@d.example"
        try:
            with closing(MailSink(name, allow_hosts=HOSTS)) as sink:
                sink.send(make_row(1))
                refuse(sink, DeliveryUnknown, make_row(2))
                sink.send(make_row(3))
        finally:
            server.terminate()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["subject"] for line in lines] == [f"overnight: r{n}" for n in (1, 2, 3)]
    assert lines[1]["message_id"] == f"<{make_row(2).delivery_key}@overnight>"
    assert lines[1]["body"].encode() == make_row(2).body
