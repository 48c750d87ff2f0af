"""Mail: the name of a mailbox as a sink, and a row as the text of a message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from overnight.failures import SinkRefused
from overnight.keys import canonical_json

DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
_DEFAULT_SUBJECT = "overnight"
#: In characters; the row's id follows.
_LONGEST_PREFIX = 100
_FORM = "Give smtp://[USER@]HOST/?from=ADDRESS&subject=TEXT&to=ADDRESS,ADDRESS"
_ORIGIN = ("row_id", "model", "prompt_hash", "request_key")

_USER = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9_.:-]+")
_ADDRESS = re.compile(r"[a-z0-9_+='-]+(\.[a-z0-9_+='-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII | re.IGNORECASE)
_LONGEST_ADDRESS = 254
#: Control characters but for newline and tab, and the two characters that some readers take for a line's end.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BREAKS = str.maketrans("\n\t", "\ufffd\ufffd")


@dataclass(frozen=True)
class Mailbox:
    """Where messages go, and as whose."""

    #: "smtp": TLS by STARTTLS; "smtps": TLS from the start.
    scheme: str
    user: str | None
    host: str
    port: int
    sender: str
    #: Sorted: their order is no part of the name.
    recipients: tuple[str, ...]
    #: What each message's subject starts with; printable.
    subject: str


def name_mail(sink: str) -> str:
    """The one way to write smtp[s]://[USER@]HOST[:PORT]/?from=…&subject=…&to=…."""
    box = read_mailbox(sink)
    user = "" if box.user is None else quote(box.user, safe="") + "@"
    host = f"[{box.host}]" if ":" in box.host else box.host
    port = "" if box.port == DEFAULT_PORTS[box.scheme] else f":{box.port}"
    recipients = ",".join(quote(recipient, safe="@") for recipient in box.recipients)
    sender, subject = quote(box.sender, safe="@"), quote(box.subject, safe="")
    return f"{box.scheme}://{user}{host}{port}/?from={sender}&subject={subject}&to={recipients}"


def read_mailbox(sink: str) -> Mailbox:
    """
    What a mail sink's address says.

    No message repeats any of the address: a password may stand anywhere in one that was written wrongly.

    Raises:
        SinkRefused: The address is incomplete, or holds what does not belong in it.
    """
    try:
        url = urlsplit(sink)
        user = _find_user(url)
        port = url.port
        fields = _read_query(url.query)
    except ValueError:
        raise SinkRefused(f"The mail sink's address cannot be read. {_FORM}.") from None
    host = url.hostname or ""
    if not _HOST.fullmatch(host) or port == 0:
        raise SinkRefused(f"The mail sink's address names no host in ASCII, or port 0. {_FORM}.")
    if url.path not in ("", "/") or "#" in sink:
        raise SinkRefused(f"The mail sink's address has a path or a fragment. {_FORM}.")
    return Mailbox(
        scheme=url.scheme,
        user=user,
        host=host,
        port=port or DEFAULT_PORTS[url.scheme],
        sender=_read_sender(fields.get("from", [])),
        recipients=_read_recipients(fields.get("to", [])),
        subject=_read_subject(fields.get("subject", [_DEFAULT_SUBJECT])),
    )


def write_mail(row: Mapping[str, Any]) -> bytes:
    """
    A row as the plain text of a message, UTF-8: the output's fields by name, `--`, and where they came from.

    Args:
        row: The output's fields beside row_id, model, prompt_hash and request_key.
    """
    output = [_write_field(name, row[name]) for name in sorted(row.keys() - set(_ORIGIN))]
    origin = [_write_field(name, row[name]) for name in _ORIGIN]
    return "\n".join([*output, "--", *origin, ""]).encode()


def clean_line(text: str) -> str:
    """The text on one line, whatever it holds."""
    return _CONTROLS.sub("\ufffd", text).translate(_BREAKS)


def _write_field(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value).decode()
    text = _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))
    if "\n" not in text:
        return f"{clean_line(name)}: {text}"
    # Indented, no line of a value passes for a field, nor for the origin below.
    return "\n".join([f"{clean_line(name)}:", *(f"  {line}" for line in text.split("\n"))])


def _find_user(url: SplitResult) -> str | None:
    credentials, at, _ = url.netloc.rpartition("@")
    if not at:
        return None
    if ":" in credentials:
        raise SinkRefused("The mail sink's address holds a password. Give USER@HOST without; credentials go apart.")
    user = unquote(credentials, errors="strict")
    if not _USER.fullmatch(user):
        raise SinkRefused(f"The mail sink's user name is empty, or not printable ASCII. {_FORM}.")
    return user


def _read_query(query: str) -> dict[str, list[str]]:
    """The values of each parameter; a plus stays one, since addresses have it."""
    fields: dict[str, list[str]] = {}
    for name, value in _split_query(query):
        if name not in ("from", "subject", "to"):
            raise SinkRefused(f"The mail sink's address has a parameter besides from, subject and to. {_FORM}.")
        fields.setdefault(name, []).append(value)
    return fields


def _split_query(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        yield name, unquote(value, errors="strict")


def _read_sender(values: list[str]) -> str:
    if len(values) != 1:
        raise SinkRefused(f"The mail sink's address names {len(values)} senders in from=, not one. {_FORM}.")
    return _read_address(values[0], "from")


def _read_recipients(values: list[str]) -> tuple[str, ...]:
    if not values:
        raise SinkRefused(f"The mail sink's address says not to whom. {_FORM}.")
    return tuple(sorted({_read_address(text, "to") for value in values for text in value.split(",")}))


def _read_address(text: str, parameter: str) -> str:
    if len(text) > _LONGEST_ADDRESS or not _ADDRESS.fullmatch(text):
        raise SinkRefused(
            f"The mail sink's address holds in {parameter}= what is no mail address. Give plain LOCAL@DOMAIN in ASCII."
        )
    local, _, domain = text.partition("@")
    return f"{local}@{domain.lower()}"


def _read_subject(values: list[str]) -> str:
    subject = values[0].strip()
    if len(values) > 1 or not subject or not subject.isprintable() or len(subject) > _LONGEST_PREFIX:
        raise SinkRefused(
            f"The mail sink's subject= is given twice, empty, longer than {_LONGEST_PREFIX} characters or no plain"
            " line. Mend it, or leave it out."
        )
    return subject
