"""`overnight up`: server, UI, work pool, worker and deployments of one machine, for as long as it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from overnight.cli.bell import put_bell
from overnight.cli.neighbours import refuse_neighbour
from overnight.cli.server import find_server, is_healthy, prefect_environment, refuse_locked_out, start_server
from overnight.cli.tasks import refuse_misfit
from overnight.failures import OvernightError
from overnight.settings import Settings

#: The work pool that prefect.yaml names.
POOL = "overnight"


def run_all() -> int:
    """Start everything and stay until Ctrl-C; the worker's exit code."""
    if not Path("prefect.yaml").exists():
        raise OvernightError(f"There is no prefect.yaml in {Path.cwd()}. Go to a project's folder and try again.")
    refuse_misfit(Path())
    settings = Settings.from_env()
    # Ended by a service manager as by Ctrl-C: what was started here ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), _server(settings) as api_url:
        os.environ.update(prefect_environment(settings.home) | {"PREFECT_API_URL": api_url})
        # prefect.yaml names the project's folder by $PWD, which only a shell keeps true.
        os.environ["PWD"] = str(Path.cwd())
        refuse_neighbour(api_url)
        _prepare()
        put_bell(settings.notify)
        click.echo(f"Prefect's UI is at {api_url.removesuffix('/api')}; Ctrl-C ends everything.")
        return _work()
    return 0


@contextlib.contextmanager
def _server(settings: Settings) -> Iterator[str]:
    named = os.environ.get("PREFECT_API_URL")
    found = find_server(settings) if not named else named if is_healthy(named) else None
    if found:
        refuse_locked_out(found)
        yield found
        return
    click.echo("Starting Prefect's server …")
    process, url = start_server(settings, detached=True, named=named)
    try:
        yield url
    finally:
        _end(process)


def _prepare() -> None:
    pool = ["work-pool", "create", POOL, "--type", "process", "--overwrite"]
    for arguments in (pool, ["--no-prompt", "deploy", "--all"]):
        done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-m", "prefect", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            raise OvernightError(
                f"`prefect {' '.join(arguments)}` failed: {''.join(last)} Mend prefect.yaml and try again."
            )
    click.echo("The deployments of prefect.yaml are in place.")


def _work() -> int:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", "overnight"]
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own interpreter, no shell
    try:
        return process.wait()
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started: a moment to finish, then none."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
