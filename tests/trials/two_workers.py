"""A Prefect server and its workers in processes of their own, which may be killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.prefect_api import PrefectApi
from tests.acceptance.processes import list_processes
from tests.acceptance.project import Project
from tests.acceptance.waiting import wait_for

POOL = "overnight"


@dataclass
class Site:
    """A project, the server that runs its deployments, and the workers of one pool."""

    project: Project
    api: PrefectApi
    _server: subprocess.Popen[bytes] | None = None
    _workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_server(self) -> None:
        """Start, and return when it answers."""
        port = self.api.url.removesuffix("/api").rpartition(":")[2]
        self._server = self._start("server", "server", "start", "--host", "127.0.0.1", "--port", port)
        wait_for(self._is_healthy, "Prefect's server")

    def kill_server(self) -> None:
        """Kill it and all that it started: it has no moment to write anything."""
        assert self._server is not None
        _kill(self._server)
        wait_for(lambda: not self._is_healthy(), "the server to be gone")

    def start_worker(self, name: str) -> None:
        """A worker that has one flow run at a time."""
        self._workers[name] = self._start(
            f"worker-{name}", "worker", "start", "--pool", POOL, "--name", name, "--limit", "1"
        )

    def kill_worker_of(self, flow_run_id: str) -> str:
        """Kill the worker that began a flow run, and the flow run's process; the worker's name."""
        pids = list_processes(f"PREFECT__FLOW_RUN_ID={flow_run_id}")
        parents = {_get_parent(pid) for pid in pids}
        [name] = [name for name, worker in self._workers.items() if worker.pid in parents]
        _kill(self._workers.pop(name))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return name

    def wait_for_end(self, flow_run_id: str) -> None:
        """Wait until a flow run has no process."""
        wait_for(lambda: not list_processes(f"PREFECT__FLOW_RUN_ID={flow_run_id}"), f"{flow_run_id} to have no process")

    def make_pool(self) -> None:
        """The pool that the workers serve."""
        self.api.post("/work_pools/", {"name": POOL, "type": "process"})

    def deploy(self, flow: str, name: str, parameters: dict[str, str]) -> None:
        """One of the project's flows as a deployment, one run at a time."""
        made = self.api.post("/flows/", {"name": flow.replace("_", "-")})
        self.api.post(
            "/deployments/",
            {
                "name": name,
                "flow_id": made["id"],
                "entrypoint": f"flows.{flow}.{flow}",
                "parameters": parameters,
                "work_pool_name": POOL,
                "work_queue_name": "default",
                "pull_steps": [
                    {"prefect.deployments.steps.set_working_directory": {"directory": str(self.project.folder)}}
                ],
                "concurrency_limit": 1,
                "concurrency_options": {"collision_strategy": "ENQUEUE"},
            },
        )

    def put_back(self, flow_run_id: str) -> None:
        """What `watch-nights` does with a flow run whose process is gone: its slot is free, and it is begun again."""
        for kind, name in (("CRASHED", "Crashed"), ("SCHEDULED", "AwaitingRetry")):
            wait_for(lambda kind=kind, name=name: self._set_state(flow_run_id, kind, name), f"it to be {name}")

    def _set_state(self, flow_run_id: str, kind: str, name: str) -> bool:
        """Whether it has come to the state: a server that has just begun may take longer than the client waits."""
        try:
            said = self.api.post(f"/flow_runs/{flow_run_id}/set_state", {"state": {"type": kind, "name": name}})
        except httpx.ReadTimeout:
            return self.api.get_state(flow_run_id) == name
        assert said["status"] == "ACCEPT", said
        return True

    def close(self) -> None:
        """End everything."""
        self.api.close()
        for process in (*self._workers.values(), *([self._server] if self._server else [])):
            _kill(process)
        for pid in list_processes(f"OVERNIGHT_HOME={self.project.environment['OVERNIGHT_HOME']}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def read_log(self, name: str) -> str:
        """What a process has said."""
        return self._log(name).read_text()

    def _log(self, name: str) -> Path:
        return self.project.folder / f"{name}.log"

    def _is_healthy(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.api.url}/health", timeout=2.0, trust_env=False).text == "true"
        return False

    def _start(self, log: str, *words: str) -> subprocess.Popen[Any]:
        with self._log(log).open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *words],
                cwd=self.project.folder,
                env=self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )


def _get_parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process and the others of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
