"""
A mail server that takes messages on the loopback address, and misbehaves on command.

In a test: `with FakeSmtp() as smtp: ...`. For other processes: `python -m tests.fakes.smtp LOGFILE [DROP_NTH]` prints
its port on the first line, appends one JSON line a message, and drops the connection of the message DROP_NTH after it
has taken it, without an answer.
"""

from __future__ import annotations

import base64
import contextlib
import email.policy
import json
import socket
import socketserver
import ssl
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

_ANSWER_S = 10.0


@dataclass(frozen=True)
class Fault:
    """One misbehaviour; without a code the connection ends where an answer was due."""

    at: Literal["connect", "ehlo", "auth", "mail", "rcpt", "data", "end"]
    code: int | None = None
    #: What stands behind the code.
    said: str = "no"
    #: The n-th time that it comes to this, from 1, over all connections; None: every time.
    n: int | None = None
    #: At "end": only a message that has this in its subject or its Message-ID.
    match: str = ""
    #: At "end": the message is taken all the same.
    keeps: bool = False
    #: Say nothing, and leave the connection open.
    hangs: bool = False


@dataclass(frozen=True)
class Mail:
    """A message that was taken."""

    sender: str
    recipients: tuple[str, ...]
    #: As it came, with CRLF line ends and dots unstuffed.
    raw: bytes
    #: Counts connections from 1.
    connection: int
    is_encrypted: bool
    #: Who was logged in.
    user: str | None

    @cached_property
    def message(self) -> EmailMessage:
        return BytesParser(EmailMessage, policy=email.policy.default).parsebytes(self.raw)

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def body(self) -> bytes:
        body = self.message.get_payload(decode=True)
        assert isinstance(body, bytes)
        return body


class FakeSmtp:
    """
    The server, on threads of its own while the context lasts.

    Args:
        tls: With it STARTTLS is offered.
        wraps: TLS from the start instead.
        logins: Passwords by user; with any, AUTH is offered, and demanded.
        log: A file that gets one JSON line for each message taken.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        wraps: bool = False,
        logins: dict[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.faults: list[Fault] = []
        self.messages: list[Mail] = []
        #: Every line of a client but for the messages' own.
        self.heard: list[str] = []
        self.tls = tls
        self.wraps = wraps
        self.logins = logins or {}
        self.counts: Counter[str] = Counter()
        #: Ends the silence of a fault that hangs.
        self.ends = threading.Event()
        self._log = log
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def name(self, host: str = "127.0.0.1", *, user: str = "", to: str = "ada@example.com", subject: str = "") -> str:
        """This server as the name of a sink."""
        scheme = "smtps" if self.wraps else "smtp"
        query = f"from=night@example.com&subject={quote(subject) or 'overnight'}&to={to}"
        return f"{scheme}://{user and quote(user, safe='') + '@'}{host}:{self.port}/?{query}"

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        self._server.shutdown()
        self._thread.join(_ANSWER_S)
        self.hang_up()
        self._server.server_close()

    def hang_up(self) -> None:
        """End every connection that is open."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def hold(self, connection: socket.socket) -> None:
        """Have `hang_up` end this one too; where that is over, end it now."""
        with self._lock:
            self._open.add(connection)
        if self.ends.is_set():
            self.hang_up()

    def release(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def find_fault(self, at: str, about: str = "") -> tuple[Fault | None, int]:
        """The misbehaviour that is due now, and how often it came to this."""
        with self._lock:
            self.counts[at] += 1
            n = self.counts[at]
        due = (fault for fault in self.faults if fault.at == at and fault.n in (None, n) and fault.match in about)
        return next(due, None), n

    def keep(self, mail: Mail) -> None:
        with self._lock:
            self.messages.append(mail)
            if self._log is not None:
                line = {"subject": mail.subject, "message_id": mail.message_id, "body": mail.body.decode()}
                with self._log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

    def __init__(self, fake: FakeSmtp) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", 0), _Session)


class _HungUp(Exception):
    """The connection is over."""


class _Session(socketserver.BaseRequestHandler):
    """One connection."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.fake = self.server.fake
        self._user: str | None = None
        self._is_encrypted = False
        self._line = self.request
        self._file = self._line.makefile("rb")
        self.fake.hold(self._line)
        try:
            with contextlib.suppress(_HungUp, OSError):
                self._talk()
        finally:
            self.fake.release(self._line)
            self._file.close()
            self._line.close()

    def _talk(self) -> None:
        if self.fake.wraps:
            self._encrypt()
        fault, self._n = self.fake.find_fault("connect")
        self._say_or_fail(fault, "220 fake")
        while line := self._file.readline():
            heard = line.decode("ascii").rstrip("\r\n")
            self.fake.heard.append(heard)
            self._obey(heard)

    def _obey(self, heard: str) -> None:
        match heard[:4].upper():
            case "EHLO":
                self._reply("ehlo", *self._list_extensions())
            case "STAR" if self.fake.tls:
                self._say("220 go ahead")
                self._encrypt()
            case "AUTH":
                self._authenticate(heard)
            case "MAIL":
                self._begin(heard)
            case "RCPT":
                self._recipients.append(_read_path(heard))
                self._reply("rcpt", "250 ok")
            case "DATA":
                self._reply("data", "354 go ahead")
                self._take(self._read_message())
            case "RSET" | "NOOP":
                self._say("250 ok")
            case "QUIT":
                self._say("221 bye")
                raise _HungUp
            case _:
                self._say("502 what?")

    def _list_extensions(self) -> list[str]:
        names = ["fake"]
        if self.fake.tls and not self._is_encrypted:
            names.append("STARTTLS")
        if self.fake.logins:
            names.append("AUTH PLAIN")
        return [f"250{' ' if name is names[-1] else '-'}{name}" for name in names]

    def _begin(self, heard: str) -> None:
        self._sender, self._recipients = _read_path(heard), list[str]()
        if self.fake.logins and self._user is None:
            self._say("530 5.7.0 log in first")
        else:
            self._reply("mail", "250 ok")

    def _authenticate(self, heard: str) -> None:
        _, user, password = base64.b64decode(heard.removeprefix("AUTH PLAIN ")).decode().split("\0")
        is_known = self.fake.logins.get(user) == password
        self._user = user if is_known else None
        # As some servers do, it repeats what it was given.
        self._reply("auth", "235 ok" if is_known else f"535 5.7.8 {user} is not let in with {password}")

    def _read_message(self) -> bytes:
        lines = []
        while (line := self._file.readline()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                raise _HungUp
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def _take(self, raw: bytes) -> None:
        mail = Mail(self._sender, tuple(self._recipients), raw, self._n, self._is_encrypted, self._user)
        fault, _ = self.fake.find_fault("end", f"{mail.subject}\n{mail.message_id}")
        if fault is None or fault.keeps:
            self.fake.keep(mail)
        self._say_or_fail(fault, "250 taken")

    def _encrypt(self) -> None:
        assert self.fake.tls is not None
        self._file.close()
        self.fake.release(self._line)
        self._line = self.fake.tls.wrap_socket(self._line, server_side=True)
        self.fake.hold(self._line)
        self._file = self._line.makefile("rb")
        self._is_encrypted = True

    def _reply(self, at: str, *lines: str) -> None:
        fault, _ = self.fake.find_fault(at)
        self._say_or_fail(fault, *lines)

    def _say_or_fail(self, fault: Fault | None, *lines: str) -> None:
        if fault is None:
            self._say(*lines)
        elif fault.hangs:
            self.fake.ends.wait(_ANSWER_S)
            raise _HungUp
        elif fault.code is None:
            raise _HungUp
        else:
            self._say(f"{fault.code} {fault.said}")

    def _say(self, *lines: str) -> None:
        self._line.sendall("".join(f"{line}\r\n" for line in lines).encode())


def _read_path(command: str) -> str:
    return command.partition("<")[2].partition(">")[0]


def main() -> None:
    """Serve until interrupted."""
    log, *drops = sys.argv[1:]
    with FakeSmtp(log=Path(log)) as smtp, contextlib.suppress(KeyboardInterrupt):
        smtp.faults += [Fault("end", n=int(nth), keeps=True) for nth in drops]
        print(smtp.port, flush=True)  # noqa: T201 - its one output
        threading.Event().wait()


if __name__ == "__main__":
    main()
