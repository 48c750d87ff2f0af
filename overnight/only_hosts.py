"""
A fence round the process: it looks up no name and connects to no address but those of the declared hosts.

It stops what goes astray, such as a library that reports home. It does not see:

- libraries in C that look up and connect by themselves, such as libpq: a ledger or a sink in Postgres;
- other processes: those that this one starts, and a server or worker that was there before;
- what was connected before it was put up;
- where a declared host, or a proxy among them, passes things on to;
- code that means to get round it: Python has no secrecy inside a process.

All that the process needs is to be declared, the host of Prefect's API too. A name is declared as clients write it, in
ASCII. Who looked up `socket.getaddrinfo` before, by `from socket import getaddrinfo`, is refused even for a declared
name: what it resolves to is not noted.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket
import sys
import threading
from collections.abc import Iterable
from typing import Any

from overnight.failures import OvernightError

_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_SENDS = {"socket.connect", "socket.sendto", "socket.sendmsg"}

_installing = threading.Lock()
#: The fence of this process, once it has one: an audit hook cannot be taken away.
_standing: list[_Fence] = []


def install(hosts: Iterable[str]) -> None:
    """
    Refuse every other host from now on, until the process ends; without a host nothing is refused.

    What is refused is a PermissionError and not one of our own errors: it is raised inside clients, which know an
    OSError for a connection that failed, clean up after it and translate it.

    Args:
        hosts: Names and addresses. The same ones once more change nothing.

    Raises:
        OvernightError: Other hosts were declared before.
    """
    declared = frozenset(filter(None, map(_normalize, hosts)))
    with _installing:
        if _standing and _standing[0].declared != declared:
            raise OvernightError(
                f"This process may reach {', '.join(sorted(_standing[0].declared))}, and that cannot be changed while"
                " it runs. Set OVERNIGHT_ONLY_HOSTS before it is started."
            )
        if declared and not _standing:
            _standing.append(_Fence(declared))
            _standing[0].put_up()


class _Fence:
    """The declared hosts, and the addresses that they have resolved to."""

    def __init__(self, declared: frozenset[str]) -> None:
        self.declared = declared
        self._known = set(declared)

    def put_up(self) -> None:
        look_up = socket.getaddrinfo

        @functools.wraps(look_up)
        def noting(host: Any, *args: Any, **kwargs: Any) -> Any:
            found = look_up(host, *args, **kwargs)
            # Nobody's name is what a server binds to, not where somebody goes.
            if host and _normalize(host) in self.declared:
                self._known.update(_normalize(str(address[0])) for *_, address in found)
            return found

        socket.getaddrinfo = noting
        sys.addaudithook(self._judge)

    def _judge(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _LOOKUPS:
            self._refuse_unknown(args[0])
        elif event in _SENDS and args[0].family != socket.AF_UNIX:
            self._refuse_elsewhere(args[1])

    def _refuse_elsewhere(self, address: Any) -> None:
        """A message without an address goes where its socket is connected to."""
        if address is not None:
            host = address[0] if isinstance(address, tuple) else repr(address)
            # An empty one leads to this machine.
            self._refuse_unknown(host or "an empty address")

    def _refuse_unknown(self, host: str | bytes | None) -> None:
        if host and _normalize(host) not in self._known:
            raise PermissionError(
                errno.EACCES,
                f"This process may not reach {_normalize(host)}: it is neither in OVERNIGHT_ONLY_HOSTS nor an address"
                " of a host there. Add it if it may be reached, and start the process anew.",
            )


def _normalize(host: str | bytes) -> str:
    """One spelling for each name and address."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    text = text.strip().lower().removesuffix(".")
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return text
    return str(getattr(ip, "ipv4_mapped", None) or ip)
