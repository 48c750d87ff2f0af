"""A connection to a mail server: to the address that was judged, over TLS, logged in."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from typing import NoReturn

from overnight.payloads.mail import Mailbox
from overnight.sinks.addresses import find_address
from overnight.sinks.errors import DeliveryDeferred


class Client(smtplib.SMTP):
    """
    Connects to the address that was judged, while TLS verifies the host's name.

    smtplib would look the name up once more, and might be led elsewhere. `_get_socket` is where it opens its socket,
    and what its own SMTP_SSL overrides; the host that it was made with is the name that STARTTLS verifies.
    """

    def __init__(self, box: Mailbox, address: str, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        self._address = address
        self._tls = tls
        super().__init__(box.host, box.port, timeout=timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((self._address, port), timeout)
        return self._tls.wrap_socket(plain, server_hostname=host) if self._tls else plain


def open_client(box: Mailbox, password: str | None, allow_hosts: frozenset[str], timeout_s: float) -> Client:
    """
    A new connection, with TLS and login; one that lacks them is closed.

    Raises:
        DeliveryDeferred: The host cannot be found now, or there is no TLS or no login.
        SinkRefused: The host has come to lie where no row may go.
        OSError: The server cannot be reached, or breaks off.
        ValueError: The host is no name to TLS.
    """
    if box.user and not password:
        defer(box, f"is to be sent to as {box.user}, who has no credential", "Give one, then deliver again.")
    address = find_address(box.host, allow_hosts)
    tls = ssl.create_default_context()
    with contextlib.ExitStack() as stack:
        client = Client(box, address, tls if box.scheme == "smtps" else None, timeout_s)
        stack.callback(client.close)
        client.ehlo_or_helo_if_needed()
        if box.scheme == "smtp" and client.has_extn("starttls"):
            client.starttls(context=tls)
            client.ehlo_or_helo_if_needed()
        elif box.scheme == "smtp":
            _refuse_open_line(box, password, allow_hosts)
        if box.user and password:
            _log_in(client, box, box.user, password)
        stack.pop_all()
    return client


def defer(box: Mailbox, what: str, advice: str, error: Exception | None = None) -> NoReturn:
    """Leave the row promised; the message says what the server did, and what to do."""
    raise DeliveryDeferred(f"The mail server {box.host} {what}; the row was not sent. {advice}") from error


def _refuse_open_line(box: Mailbox, password: str | None, allow_hosts: frozenset[str]) -> None:
    if password:
        defer(box, "offers no STARTTLS, and no password goes over an open line", "Use smtps://, or mend the server.")
    if box.host not in allow_hosts:
        defer(
            box,
            "offers no STARTTLS, and no row leaves the house over an open line",
            f"Use smtps://, or add {box.host} to OVERNIGHT_ALLOW_HOSTS if it stands in the house.",
        )


def _log_in(client: Client, box: Mailbox, user: str, password: str) -> None:
    try:
        client.login(user, password)
    except smtplib.SMTPAuthenticationError as error:
        why = f"SMTP {error.smtp_code}"
    except (smtplib.SMTPException, ValueError) as error:
        why = type(error).__name__
    else:
        return
    # Neither quoted nor chained: some servers repeat what they were given.
    defer(box, f"did not log {user} in ({why})", "Check the user name and its credential, then deliver again.")
