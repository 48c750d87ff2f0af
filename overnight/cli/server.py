"""Prefect's server on this machine: the one that is running, or one that is started once and kept."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx

from overnight.failures import OvernightError
from overnight.settings import Settings

#: Prefect's own default port.
_PORT = 4200
_STARTS_S = 120.0


def prefect_environment(home: Path) -> dict[str, str]:
    """Prefect's settings that the project wants, unless the user has set them."""
    wanted = {
        # Prefect's default serializer is cloudpickle, which runs code when it loads.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def ensure_server(settings: Settings) -> str:
    """
    The API address of a running server; one is started, in the background, where there is none.

    Raises:
        OvernightError: PREFECT_API_URL names a server that does not answer, or none can be started, or it asks for
            another user and password.
    """
    if named := os.environ.get("PREFECT_API_URL"):
        if not is_healthy(named):
            raise _no_server(named)
        refuse_locked_out(named)
        return named
    with _one_at_a_time(settings.home):
        if found := find_server(settings):
            refuse_locked_out(found)
            click.echo(f"Using the Prefect server that runs at {found.removesuffix('/api')}.", err=True)
            return found
        click.echo("Starting a Prefect server, once; later runs use it …", err=True)
        return _start_in_background(settings)


def find_server(settings: Settings) -> str | None:
    """The API address of a server that this project started, or of one on Prefect's default port."""
    recorded = _recorded(settings)
    for url in (recorded["url"] if recorded else None, _api_url(_PORT)):
        if url and is_healthy(str(url)):
            return str(url)
    return None


def is_healthy(api_url: str) -> bool:
    """Whether a Prefect server answers there."""
    try:
        answer = httpx.get(f"{api_url}/health", timeout=2.0, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code == httpx.codes.OK and answer.text == "true"


def refuse_locked_out(api_url: str) -> None:
    """
    See that the server lets us in; whether it is healthy it tells anybody.

    Raises:
        OvernightError: It asks for a user and a password, and those that Prefect is set to are not they.
    """
    if not _asks_for_more(api_url, os.environ.get("PREFECT_API_AUTH_STRING")):
        return
    from prefect.settings import get_current_settings  # noqa: PLC0415 - it takes seconds, and knows of profiles

    declared = get_current_settings().api.auth_string
    if _asks_for_more(api_url, declared.get_secret_value() if declared else None):
        raise OvernightError(
            f"Prefect's server at {api_url.removesuffix('/api')} asks for a user and a password, and does not know"
            " those that are set. Set PREFECT_API_AUTH_STRING to USER:PASSWORD, as the server has it."
        )


def _asks_for_more(api_url: str, auth_string: str | None) -> bool:
    user, _, password = (auth_string or "").partition(":")
    try:
        answer = httpx.get(
            f"{api_url}/admin/version", auth=(user, password) if user else None, timeout=10.0, trust_env=False
        )
    except httpx.HTTPError:
        # It was there a moment ago: whoever needs it next says what became of it.
        return False
    return answer.status_code == httpx.codes.UNAUTHORIZED


def start_server(
    settings: Settings, *, detached: bool, named: str | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """
    Start a server at the address named, or on a free port, and wait until it answers; its process and API address.

    Raises:
        OvernightError: The address is not of this machine, or the server does not start.
    """
    port = _local_port(named) if named else _free_port()
    url = _api_url(port)
    folder = settings.home / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | prefect_environment(settings.home)
    environment |= {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "PREFECT_UI_API_URL": url}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=detached
        )
    _wait_until_healthy(process, url, folder / "server.log")
    return process, url


def stop_server() -> str:
    """End the server that a run by hand started; one line on what was done."""
    settings = Settings.from_env()
    recorded = _recorded(settings)
    if recorded is None:
        return "No server was started by a run of this project."
    _record_file(settings).unlink(missing_ok=True)
    pid = int(recorded["pid"])
    if not _is_server(pid):
        return "The server had ended already."
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
    _wait_until_gone(pid)
    return f"The server at {recorded['url']} has ended. Its runs are kept and shown again by the next one."


def _is_server(pid: int) -> bool:
    """Whether the process is a Prefect server: after a reboot its number may be anybody's."""
    asked = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed words and a number
    return "prefect server start" in asked.stdout


def _start_in_background(settings: Settings) -> str:
    process, url = start_server(settings, detached=True)
    _record_file(settings).write_text(json.dumps({"pid": process.pid, "url": url}))
    return url


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _STARTS_S
    while not is_healthy(url):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise OvernightError(f"Prefect's server did not start on {url}. Its log says why: {log}.")
        time.sleep(0.2)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(pid, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Two runs that begin together start one server."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _record_file(settings: Settings) -> Path:
    return settings.home / "prefect" / "server.json"


def _recorded(settings: Settings) -> dict[str, int | str] | None:
    try:
        found: dict[str, int | str] = json.loads(_record_file(settings).read_text())
    except (OSError, ValueError):
        return None
    return found


def _api_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def _local_port(api_url: str) -> int:
    try:
        parts = urlsplit(api_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _no_server(api_url) from None
    if host not in ("127.0.0.1", "localhost") or port is None:
        raise _no_server(api_url)
    return port


def _no_server(api_url: str) -> OvernightError:
    return OvernightError(
        f"PREFECT_API_URL is {api_url}, where no Prefect server answers. Start it, or unset PREFECT_API_URL."
    )


def _free_port() -> int:
    for port in (_PORT, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OvernightError("No port is free on 127.0.0.1. End something that listens and try again.")
