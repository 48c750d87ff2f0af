"""Which hosts a sink may reach: an address inside the house only where it was allowed by name."""

from __future__ import annotations

import ipaddress
import socket

from overnight.failures import SinkRefused
from overnight.sinks.errors import DeliveryDeferred

#: A translator sends what goes to one of these to the IPv4 address in its last four bytes.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def find_address(host: str, allow_hosts: frozenset[str]) -> str:
    """
    The address to connect to: the one that was judged, since a name may lead elsewhere when it is asked again.

    Raises:
        SinkRefused: One of the host's addresses is private, loopback, link-local or reserved, and it is not allowed by
            name; or it is no host name.
        DeliveryDeferred: The host cannot be found now.
    """
    addresses = _resolve(host)
    if host.lower() not in allow_hosts:
        for address in addresses:
            _refuse_inside(host, address)
    return addresses[0]


def _refuse_inside(host: str, address: str) -> None:
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
    except OSError as error:
        raise DeliveryDeferred(
            f"The sink's host {host} cannot be found now ({error}). Mend it, or try again later."
        ) from error


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_public(str(ip.ipv4_mapped))
        if ip.is_site_local or not all(_is_public(str(inner)) for inner in _list_wrapped(ip)):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _list_wrapped(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses to which a tunnel or a translator would send what goes to this one."""
    wrapped = [ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        wrapped.append(ipaddress.IPv4Address(ip.packed[-4:]))
    return [inner for inner in wrapped if inner is not None]
