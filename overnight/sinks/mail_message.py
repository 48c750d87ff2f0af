"""A payload as a whole message, with the headers that a mailbox and the mail servers on the way read."""

from __future__ import annotations

import base64
from datetime import datetime
from email.header import Header
from email.utils import format_datetime

from overnight.payloads.mail import Mailbox, clean_line
from overnight.records import Payload

_LONGEST_SUBJECT = 200


def write_message(payload: Payload, box: Mailbox, at: datetime) -> bytes:
    """
    A message as it goes over the wire: plain text whose body, decoded, is the payload's bytes.

    In base64 no line end is converted on the way, and no line starts with a dot. The headers are written by hand since
    EmailMessage would decode a row's id that looks like an encoded word.
    """
    subject = f"{box.subject}: {clean_line(payload.row_id)}"[:_LONGEST_SUBJECT]
    headers = {
        "From": box.sender,
        "To": ",\r\n ".join(box.recipients),
        "Subject": Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n"),
        "Message-ID": message_id(payload),
        "Date": format_datetime(at),
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "base64",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode("ascii") + b"\r\n" + base64.encodebytes(payload.body).replace(b"\n", b"\r\n")


def message_id(payload: Payload) -> str:
    """What finds the message of a row in a mailbox, however often it was sent."""
    return f"<{payload.delivery_key}@overnight>"
