import ipaddress
import socket

import pytest

from overnight.failures import SinkRefused
from overnight.sinks import DeliveryDeferred
from overnight.sinks.addresses import _list_wrapped, find_address


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
        "fec0::1",
        "2002:7f00:1::",  # 127.0.0.1 behind 6to4
        "2002:a9fe:a9fe::1",  # 169.254.169.254 behind 6to4
        "2001:0:808:808::80ff:fffe",  # 127.0.0.1 behind Teredo
        "2001:0:a00:1::f7f7:f7f7",  # 8.8.8.8 behind Teredo, by way of 10.0.0.1
        "64:ff9b::10.0.0.1",
        "localhost",
    ],
)
def test_a_host_inside_the_house_is_refused(host):
    with pytest.raises(SinkRefused, match="not a public address"):
        find_address(host, frozenset())


def test_a_host_inside_the_house_may_be_allowed_by_name():
    assert find_address("LOCALHOST", frozenset({"localhost"})) in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111"])
def test_a_public_address_may_be_reached(host):
    assert find_address(host, frozenset()) == host


def test_a_tunnel_or_a_translator_leads_to_the_address_inside():
    found = [("2002:a00:1::", "10.0.0.1"), ("64:ff9b::a00:1", "10.0.0.1"), ("2606:4700::1111", None)]
    for address, inner in found:
        wrapped = _list_wrapped(ipaddress.IPv6Address(address))
        assert [str(ip) for ip in wrapped] == ([inner] if inner else [])
    teredo = _list_wrapped(ipaddress.IPv6Address("2001:0:808:808::80ff:fffe"))
    assert [str(ip) for ip in teredo] == ["8.8.8.8", "127.0.0.1"]


@pytest.fixture
def lead_to(monkeypatch):
    """Have every name lead to these addresses."""

    def lead(*addresses):
        found = [(socket.AF_INET, 1, 6, "", (address, 0)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return lead


def test_the_first_address_that_was_judged_is_the_one_to_connect_to(lead_to):
    lead_to("8.8.8.8", "8.8.4.4")
    assert find_address("public.example", frozenset()) == "8.8.8.8"


@pytest.mark.parametrize("addresses", [("8.8.8.8", "10.0.0.1"), ("10.0.0.1", "8.8.8.8")])
def test_one_private_address_among_public_ones_is_enough_to_refuse(lead_to, addresses):
    lead_to(*addresses)
    with pytest.raises(SinkRefused, match=r"10\.0\.0\.1"):
        find_address("mixed.example", frozenset())


def test_a_name_that_leads_to_the_metadata_service_is_refused(lead_to):
    lead_to("169.254.169.254")
    with pytest.raises(SinkRefused, match=r"169\.254\.169\.254"):
        find_address("metadata.example", frozenset())


def test_another_name_that_is_allowed_allows_nothing(lead_to):
    lead_to("10.0.0.1")
    with pytest.raises(SinkRefused):
        find_address("b.example", frozenset({"a.example", "10.0.0.1"}))


def test_a_host_that_cannot_be_found_now_may_be_later(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DeliveryDeferred, match=r"away\.example cannot be found now"):
        find_address("away.example", frozenset())


def test_what_is_no_host_name_is_refused():
    with pytest.raises(SinkRefused, match="no host name"):
        find_address("a" * 70 + ".example", frozenset())
