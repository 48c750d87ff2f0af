"""Which hosts a sink may reach: an address inside the house only where it was allowed by name."""

from __future__ import annotations

import ipaddress
import socket

from overnight.failures import SinkRefused


def check_host(host: str, allow_hosts: frozenset[str]) -> None:
    """
    Refuse a host that resolves to an address which is not public, unless it is allowed.

    Raises:
        SinkRefused: One of its addresses is private, loopback, link-local or reserved, or it is no host name.
        OSError: The host cannot be resolved now.
    """
    if host.lower() in allow_hosts:
        return
    for address in _resolve(host):
        if not _is_public(address):
            raise SinkRefused(
                f"The sink's host {host} is at {address}, which is not a public address. "
                f"Add {host} to OVERNIGHT_ALLOW_HOSTS if rows may go there."
            )


def _resolve(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except UnicodeError as error:
        raise SinkRefused(f"The sink's host {host!r} is no host name ({error}). Mend the address.") from error


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
