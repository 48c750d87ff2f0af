import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.payloads.mail import read_mailbox
from overnight.records import Payload
from overnight.sinks.mail_message import write_message

NAME = "smtp://mail.example/?from=a@b.example&subject=overnight&to=c@d.example"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_message(body=b"x\n", row_id="r1", name=NAME):
    wire = write_message(Payload(row_id, body, "d", "f" * 64), read_mailbox(name), AT)
    return wire, email.message_from_bytes(wire, policy=email.policy.default)


@given(st.binary(max_size=300))
def test_a_message_decodes_to_the_very_bytes_and_has_no_line_to_stuff(body):
    wire, message = make_message(body)
    assert message.get_payload(decode=True) == body
    lines = wire.split(b"\r\n")
    assert not any(line.startswith(b".") or b"\n" in line or b"\r" in line or len(line) > 998 for line in lines)


def test_a_message_is_plain_text_of_a_machine_from_and_to_the_sinks_addresses():
    _, message = make_message("Grüße\n".encode(), name=f"{NAME},e@f.example")
    assert message.get_content() == "Grüße\n"
    assert dict(message.items()) == {
        "From": "a@b.example",
        "To": "c@d.example, e@f.example",
        "Subject": "overnight: r1",
        "Message-ID": f"<{'f' * 64}@overnight>",
        "Date": "Fri, 02 Jan 2026 03:04:05 +0000",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "base64",
    }


@pytest.mark.parametrize(
    ("row_id", "subject"),
    [
        ("r1\r\nBcc: e@f.example", "overnight: r1\ufffd\ufffdBcc: e@f.example"),
        ("=?utf-8?q?a=0AB?=", "overnight: =?utf-8?q?a=0AB?="),
        ("日本" * 150, ("overnight: " + "日本" * 150)[:200]),
        ("a\0\tb\u2028", "overnight: a\ufffd\ufffdb\ufffd"),
    ],
)
def test_a_rows_id_stays_within_the_subject(row_id, subject):
    wire, message = make_message(row_id=row_id)
    assert message["Subject"] == subject
    assert message["Bcc"] is None
    assert all(len(line) <= 100 for line in wire.split(b"\r\n"))
