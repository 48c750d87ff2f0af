"""A project of its own in a temporary folder, with a flow over the benchmark's rows and a Prefect server beside it."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meter import read_cpu_s
from benchmarks.process_tree import read_tree_cpu_s
from benchmarks.rows import CHECKS, PROMPT, SCHEMA
from benchmarks.serving import Provider

_REPOSITORY = Path(__file__).parents[1]
_STARTS_S = 120.0
_FLOW = '''"""Texts are sorted."""

from overnight.records import Summary
from tasks import (
    ask_approval,
    check_batches,
    complete_batches,
    deliver_release,
    load_batches,
    load_prompt,
    nightly_flow,
    publish_report,
)


@nightly_flow(name="sort-texts")
def sort_texts(source: str, model: str | None = None, sink: str = "file:out/texts.jsonl") -> Summary:
    prompt = load_prompt("bench")
    completed = complete_batches(load_batches(source, prompt), prompt, model)
    checked = check_batches(completed, prompt)
    receipts = deliver_release(ask_approval(checked, sink))
    return publish_report(checked, receipts)
'''


@dataclass(frozen=True)
class Spent:
    """CPU of a process that has ended, and its standard output."""

    cpu_s: float
    said: str


@dataclass(frozen=True)
class Project:
    """The folder, the server's process and address."""

    folder: Path
    api_url: str
    server: subprocess.Popen[bytes]

    def run_command(self, *arguments: object, environment: dict[str, str]) -> Spent:
        """One command `overnight`."""
        return self.run_python("-m", "overnight", *arguments, environment=environment)

    def run_python(self, *arguments: object, environment: dict[str, str]) -> Spent:
        """An interpreter in the project's folder, with the processes that it starts and waits for."""
        before = read_cpu_s(resource.RUSAGE_CHILDREN)
        command = [sys.executable, *map(str, arguments)]
        environment = environment | {"PREFECT_API_URL": self.api_url, "PREFECT_HOME": str(self.folder / "prefect")}
        done = subprocess.run(  # noqa: S603 - our own interpreter
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return Spent(read_cpu_s(resource.RUSAGE_CHILDREN) - before, done.stdout)

    def run_flow(self, source: Path, environment: dict[str, str]) -> float:
        """CPU of a whole run, up to the gate, with what the server spent on it meanwhile."""
        before = read_tree_cpu_s(self.server.pid)
        command = ("run", "sort_texts", "--source", source, "--no-wait", "--json")
        spent = self.run_command(*command, environment=environment)
        summary = json.loads(spent.said.splitlines()[-1])
        if not summary["accepted"] == summary["rows"] == summary["calls"]:
            raise SystemExit(f"The flow did not ask and accept every row: {summary}")
        return spent.cpu_s + read_tree_cpu_s(self.server.pid) - before


@contextmanager
def serving_project(provider: Provider, folder: Path) -> Iterator[Project]:
    """The project, while the context lasts; its environments are the provider's."""
    write_project(folder)
    port = _find_free_port()
    api_url = f"http://127.0.0.1:{port}/api"
    environment = provider.environment(folder / "home") | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": api_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - our own interpreter
    try:
        _wait_until_healthy(api_url)
        yield Project(folder, api_url, server)
    finally:
        server.terminate()
        server.wait()


def write_project(folder: Path) -> None:
    """The flow and its prompt, beside a copy of tasks/."""
    shutil.copytree(_REPOSITORY / "tasks", folder / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "flows").mkdir()
    (folder / "flows/__init__.py").touch()
    (folder / "flows/sort_texts.py").write_text(_FLOW)
    prompt = folder / "prompts/bench"
    prompt.mkdir(parents=True)
    (prompt / "prompt.md").write_text(PROMPT)
    (prompt / "output.schema.json").write_text(SCHEMA)
    (prompt / "checks.json").write_text(CHECKS)


def _wait_until_healthy(api_url: str) -> None:
    deadline = time.monotonic() + _STARTS_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{api_url}/health", timeout=2):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"Prefect's server did not start at {api_url}.")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
