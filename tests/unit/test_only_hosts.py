"""The fence, each time in a process of its own: an audit hook cannot be taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.conftest import Receiver

ROOT = Path(__file__).parents[2]

_BEGIN = """
import asyncio, socket, subprocess, sys
from overnight.failures import OvernightError
from overnight.only_hosts import install

def says(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except PermissionError as error:
        return error.strerror
"""
_POST = """
import httpx
def post(host):
    given = dict(json={"row_id": "r1"}, headers={"idempotency-key": "k"}, trust_env=False, timeout=10)
    return httpx.post(f"http://{host}:PORT/in", **given).status_code
"""


def _run(script: str, receiver: Receiver | None = None) -> list[str]:
    """What the script printed."""
    port = str(receiver.server_port) if receiver else "9"
    command = [sys.executable, "-W", "error", "-c", (_BEGIN + script).replace("PORT", port)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_host_that_is_not_declared_is_not_even_looked_up() -> None:
    said = _run("""
install(["crm.example"])
print(says(socket.getaddrinfo, "elsewhere.example", 443))
print(says(socket.gethostbyname, "elsewhere.example"))
print(says(socket.create_connection, ("Elsewhere.Example.", 443)))
""")
    assert len(said) == 3
    told = (
        "This process may not reach elsewhere.example: it is neither in OVERNIGHT_ONLY_HOSTS nor an address of a host"
        " there. Add it if it may be reached, and start the process anew."
    )
    assert set(said) == {told}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_declared_host_is_reached(receiver: Receiver, host: str) -> None:
    assert _run(f'{_POST}\ninstall(["LocalHost", "127.0.0.1"])\nprint(post({host!r}))', receiver) == ["200"]
    assert receiver.list_rows() == ["r1"]


def test_an_address_is_reached_after_a_declared_name_has_resolved_to_it(receiver: Receiver) -> None:
    said = _run(
        f"""
{_POST}
install(["localhost"])
refused = says(socket.create_connection, ("127.0.0.1", PORT))
print(refused.split(":")[0])
print(post("localhost"), post("127.0.0.1"))
""",
        receiver,
    )
    assert said == ["This process may not reach 127.0.0.1", "200 200"]


def test_to_a_client_it_is_a_connection_that_failed(receiver: Receiver) -> None:
    said = _run(
        f"""
{_POST}
install(["crm.example"])
try:
    post("127.0.0.1")
except httpx.ConnectError as error:
    print(error)
""",
        receiver,
    )
    assert "may not reach 127.0.0.1" in said[0]
    assert receiver.sent == []


@pytest.mark.parametrize(
    "way",
    [
        's = socket.socket(); print(says(s.connect, ("127.0.0.1", PORT)))',
        's = socket.socket(); print(says(s.connect_ex, ("127.0.0.1", PORT)))',
        's = socket.socket(); print(says(s.connect, ("localhost", PORT)))',
        's = socket.socket(); print(says(s.connect, ("", PORT)))',
        's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); print(says(s.sendto, b"row", ("127.0.0.1", PORT)))',
        's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); print(says(s.sendmsg, [b""], [], 0, ("127.0.0.1", 9)))',
        's = socket.socket(socket.AF_INET6); print(says(s.connect, ("::ffff:127.0.0.1", PORT)))',
        's = socket.socket(); print(says(asyncio.run, asyncio.open_connection("127.0.0.1", PORT)))',
    ],
    ids=["connect", "connect_ex", "by name", "nobody", "sendto", "sendmsg", "mapped", "asyncio"],
)
def test_every_way_of_a_socket_is_refused(receiver: Receiver, way: str) -> None:
    [said] = _run(f'install(["crm.example"])\n{way}\ns.close()', receiver)
    assert "this process may not reach" in said.lower()


def test_a_coroutine_reaches_a_declared_host(receiver: Receiver) -> None:
    said = _run(
        """
async def go():
    _, writer = await asyncio.open_connection("localhost", PORT)
    writer.close()
    await writer.wait_closed()
    print("there")
install(["localhost"])
asyncio.run(go())
""",
        receiver,
    )
    assert said == ["there"]


def test_a_socket_of_this_machine_that_is_a_file_passes(tmp_path: Path) -> None:
    said = _run(f"""
install(["crm.example"])
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind({str(tmp_path / "s")!r})
    server.listen()
    print(says(client.connect, {str(tmp_path / "s")!r}))
""")
    assert said == ["None"]


def test_a_server_may_still_be_bound() -> None:
    said = _run("""
install(["crm.example"])
async def serve():
    (await asyncio.start_server(print, port=0)).close()
    print("bound")
asyncio.run(serve())
""")
    assert said == ["bound"]


def test_it_stands_once_and_its_hosts_are_not_changed_any_more() -> None:
    said = _run("""
install(["crm.example"])
first = socket.getaddrinfo
install(["CRM.example.", " "])
print(socket.getaddrinfo is first)
for hosts in (["crm.example", "elsewhere.example"], []):
    try:
        install(hosts)
    except OvernightError as error:
        print(error)
""")
    told = "This process may reach crm.example, and that cannot be changed while it runs."
    assert said == ["True", *[f"{told} Set OVERNIGHT_ONLY_HOSTS before it is started."] * 2]


def test_without_a_host_nothing_is_refused(receiver: Receiver) -> None:
    assert _run(f'{_POST}\ninstall([""])\nprint(post("127.0.0.1"))', receiver) == ["200"]


def test_a_process_that_it_starts_is_not_fenced_in(receiver: Receiver) -> None:
    said = _run(
        """
install(["crm.example"])
code = 'import socket; socket.create_connection(("127.0.0.1", PORT)).close(); print("there")'
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip())
""",
        receiver,
    )
    assert said == ["there"]
