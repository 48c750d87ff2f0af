"""A mailbox that is sent one message a row; what was sent stays sent."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NoReturn

from overnight.failures import SinkRefused
from overnight.payloads.mail import Mailbox, clean_line, read_mailbox
from overnight.records import Payload
from overnight.sinks.addresses import find_address
from overnight.sinks.contract import RowSink
from overnight.sinks.errors import DeliveryFailed, DeliveryUnknown
from overnight.sinks.mail_message import message_id, write_message
from overnight.sinks.smtp import Client, defer, open_client

_LONGEST_QUOTE = 200
#: The hundreds of an answer, and the one answer that asks for a message's data.
_TAKEN, _NOT_NOW, _NEVER = 2, 4, 5
_GO_AHEAD = 354


class MailSink(RowSink):
    """
    Sends each row as a message of plain text, over one connection for as long as the server keeps it.

    A mail server dedupes nothing: once a message's data began to be sent, only the answer says whether it was taken.
    """

    effect = "irreversible"
    operation = "send"
    dedupes = False

    def __init__(
        self, name: str, *, allow_hosts: frozenset[str], credential: str | None = None, timeout_s: float = 30.0
    ) -> None:
        self._box = read_mailbox(name)
        self._password = _check_password(self._box, credential)
        self._allow_hosts = allow_hosts
        self._timeout_s = timeout_s
        self._client: Client | None = None
        find_address(self._box.host, allow_hosts)

    def check(self, sample: Payload) -> None:  # noqa: ARG002 - up to its data, one message is like another
        """Go as far as a message's data: the login, the sender and the recipients are then known to be taken."""
        self._begin()

    def send(self, payload: Payload) -> str:
        """Send one row as a message; what the server said to it."""
        message = write_message(payload, self._box, datetime.now(UTC))
        client = self._begin()
        with self._before_data():
            code, said = client.docmd("DATA")
            if code != _GO_AHEAD:
                self._refuse("DATA", code, said)
        code, said = self._hand_over(client, message, payload)
        if code // 100 == _NOT_NOW:
            self._defer(f"did not take the message: SMTP {code}, {self._quote(said)}", "Deliver again later.")
        if code // 100 == _NEVER:
            raise DeliveryFailed(
                f"The mail server {self._box.host} refused the message of row {clean_line(payload.row_id)}:"
                f" SMTP {code}, {self._quote(said)} Mend the row or the mailbox, then deliver again."
            )
        return f"SMTP {code}, {self._quote(said)}"

    def close(self) -> None:
        """Part from the server; how it answers to that does not matter any more."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.quit()
        self._hang_up()

    def _begin(self) -> Client:
        """A connection on which the sender and all recipients were taken: nothing but the message is missing."""
        with self._before_data():
            self._client = client = self._find_open() or open_client(
                self._box, self._password, self._allow_hosts, self._timeout_s
            )
            self._demand(f"MAIL FROM <{self._box.sender}>", client.mail(self._box.sender))
            for recipient in self._box.recipients:
                # One refused stops the message: what some have and others lack could not be sent again.
                self._demand(f"RCPT TO <{recipient}>", client.rcpt(recipient))
        return client

    def _hand_over(self, client: Client, message: bytes, payload: Payload) -> tuple[int, bytes]:
        """The answer to a message's data; here alone an answer that is lost leaves open what happened."""
        try:
            client.send(message + b".\r\n")
            code, said = client.getreply()
            why = f"SMTP {code}"
        except OSError as error:
            code, said, why = -1, b"", type(error).__name__
        if code // 100 in (_TAKEN, _NOT_NOW, _NEVER):
            return code, said
        self._hang_up()
        raise DeliveryUnknown(
            f"Row {clean_line(payload.row_id)} may have been sent to {', '.join(self._box.recipients)} by"
            f" {self._box.host}: the server's answer was lost ({why})."
            f" Look in the mailbox for Message-ID {message_id(payload)}."
        )

    def _find_open(self) -> Client | None:
        """The connection of the row before, where the server has kept it, with nothing begun on it."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                if self._client.rset()[0] // 100 == _TAKEN:
                    return self._client
        self._hang_up()
        return None

    @contextlib.contextmanager
    def _before_data(self) -> Iterator[None]:
        """Whatever goes wrong in here, nothing of a message was sent."""
        try:
            yield
        # ValueError: a host that is no name to TLS.
        except (OSError, ValueError) as error:
            why = self._quote(f"{type(error).__name__}: {error}".encode())
            self._defer(f"cannot be sent to now: {why}", "Check its address, or deliver again later.", error)

    def _demand(self, command: str, reply: tuple[int, bytes]) -> None:
        if reply[0] // 100 != _TAKEN:
            self._refuse(command, *reply)

    def _refuse(self, command: str, code: int, said: bytes) -> NoReturn:
        """A refusal before the data, for good or not, speaks of the addresses and the login: no row is given up."""
        self._defer(
            f"did not take {command}: SMTP {code}, {self._quote(said)}",
            "Check the sink's addresses and its credential, then deliver again.",
        )

    def _defer(self, what: str, advice: str, error: Exception | None = None) -> NoReturn:
        self._hang_up()
        defer(self._box, what, advice, error)

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _quote(self, said: bytes) -> str:
        """What the server said, on one line; one that repeats the password must not bring it into a log."""
        text = said.decode(errors="replace")
        if self._password:
            for secret in (self._password, f"\0{self._box.user}\0{self._password}"):
                text = text.replace(base64.b64encode(secret.encode()).decode(), "…").replace(secret, "…")
        return repr(clean_line(text)[:_LONGEST_QUOTE])


def _check_password(box: Mailbox, credential: str | None) -> str | None:
    # An error about a character that no login takes would repeat the password, so it never gets that far.
    if credential and not (credential.isascii() and credential.isprintable()):
        raise SinkRefused(f"The credential for {box.host} holds characters that are not printable ASCII. Set it again.")
    if credential and not box.user:
        raise SinkRefused(
            f"There is a credential for {box.host}, and no user. Name the sink {box.scheme}://USER@HOST/…."
        )
    return credential
