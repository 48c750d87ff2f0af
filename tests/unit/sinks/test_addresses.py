import socket

import pytest

from overnight.failures import SinkRefused
from overnight.sinks.addresses import check_host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address that must be refused, nothing binds it
        "240.0.0.1",
        "224.0.1.1",
        "2130706433",  # 127.0.0.1 as one number
        "::1",
        "fe80::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "localhost",
    ],
)
def test_a_host_inside_the_house_is_refused(host):
    with pytest.raises(SinkRefused, match="not a public address"):
        check_host(host, frozenset())


def test_a_host_inside_the_house_may_be_allowed_by_name():
    check_host("LOCALHOST", frozenset({"localhost"}))


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111"])
def test_a_public_address_may_be_reached(host):
    check_host(host, frozenset())


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    found = [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(SinkRefused, match=r"10\.0\.0\.1"):
        check_host("mixed.example", frozenset())


def test_what_is_no_host_name_is_refused():
    with pytest.raises(SinkRefused, match="no host name"):
        check_host("a" * 70 + ".example", frozenset())
