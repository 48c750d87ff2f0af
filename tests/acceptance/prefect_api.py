"""Prefect's API, as far as the stories need it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.acceptance.waiting import wait_for

#: How long one call may take, and all of them that ask for the same.
_CALL_S, _PATIENCE_S = 30.0, 95.0


class PrefectApi:
    """A server's API at its address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=_CALL_S, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        return self._send("GET", path).json()

    def post(self, path: str, body: Any = None) -> Any:
        return self._send("POST", path, json=body or {}).json()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """
        Send until the server's database is free: where it is not it says 503, and Prefect's client asks again.

        What only reads is asked again too where a busy server gives no answer at all.
        """
        only_reads = method == "GET" or path.endswith("/filter")

        def send() -> httpx.Response | None:
            try:
                response = self._client.request(method, path, **options)
            except httpx.ReadTimeout:
                if not only_reads:
                    raise
                return None
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        return wait_for(send, f"{method} {path}", timeout_s=_PATIENCE_S).raise_for_status()

    def is_ready(self, n_deployments: int) -> bool:
        """Whether so many deployments are in place and a worker is online."""
        try:
            workers = self.post("/work_pools/overnight/workers/filter")
            deployments = self.post("/deployments/filter")
        except httpx.HTTPError:
            return False
        return any(w["status"] == "ONLINE" for w in workers) and len(deployments) == n_deployments

    def start_run(
        self,
        deployment: str,
        parameters: dict[str, Any],
        *,
        in_s: float = 0.0,
        tags: list[str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Have a worker run a deployment, FLOW/NAME, so many seconds from now; the flow run's id."""
        found = self.get(f"/deployments/name/{deployment}")
        at = datetime.now(UTC) + timedelta(seconds=in_s)
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": at.isoformat()}}
        body = {"parameters": parameters, "state": state, "tags": tags or []}
        body |= {"job_variables": {"env": environment}} if environment else {}
        return str(self.post(f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def list_fired(self, deployment: str) -> list[str]:
        """The flow runs that a deployment's schedule has begun, the first one first."""
        found = self.get(f"/deployments/name/{deployment}")
        runs = self.post("/flow_runs/filter", {"deployments": {"id": {"any_": [found["id"]]}}})
        fired = [run for run in runs if run["auto_scheduled"] and run["start_time"]]
        return [str(run["id"]) for run in sorted(fired, key=lambda run: str(run["start_time"]))]

    def pause_schedules(self, deployment: str) -> None:
        """Have a deployment's schedules fire no more."""
        found = self.get(f"/deployments/name/{deployment}")
        for schedule in found["schedules"]:
            self._send("PATCH", f"/deployments/{found['id']}/schedules/{schedule['id']}", json={"active": False})

    def get_state(self, flow_run_id: str) -> str:
        return str(self.get(f"/flow_runs/{flow_run_id}")["state_name"])

    def count_runs(self, flow_run_id: str) -> int:
        """How many times the flow run has been begun."""
        return int(self.get(f"/flow_runs/{flow_run_id}")["run_count"])

    def wait_for_state(self, flow_run_id: str, name: str, *, timeout_s: float = 90.0) -> None:
        """Wait until the flow run's state has the name; one that ended under another is told at once."""

        def ask() -> bool:
            state = self.get(f"/flow_runs/{flow_run_id}")["state"]
            ended = state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            assert not ended or state["name"] == name, f"{state['name']}: {state['message']}"
            return bool(state["name"] == name)

        wait_for(ask, f"flow run {flow_run_id} to be {name}", timeout_s=timeout_s)

    def get_run_id(self, flow_run_id: str) -> str:
        """The run that the flow run works on: its name ends with it."""
        return str(self.get(f"/flow_runs/{flow_run_id}")["name"]).rpartition(" ")[2]

    def resume(self, flow_run_id: str, answers: dict[str, Any]) -> str:
        """Send a filled form; ACCEPT, REJECT or ABORT."""
        return str(self.post(f"/flow_runs/{flow_run_id}/resume", {"run_input": answers})["status"])

    def force_state(self, flow_run_id: str, kind: str) -> None:
        """Set a state past every rule, as an admin may."""
        self.post(f"/flow_runs/{flow_run_id}/set_state", {"state": {"type": kind}, "force": True})

    def list_task_states(self, flow_run_id: str) -> dict[str, list[str]]:
        """The states of a flow run's task runs, by the task's name."""
        rows = self.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
        found: dict[str, list[str]] = {}
        for row in sorted(rows, key=lambda r: str(r["expected_start_time"])):
            found.setdefault(row["name"].rstrip("-0123456789"), []).append(row["state_name"])
        return found

    def list_artifacts(self, flow_run_id: str) -> dict[str, dict[str, Any]]:
        """A flow run's artifacts, by their keys; of several with one key the newest."""
        rows = self.post("/artifacts/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
        return {row["key"]: row for row in sorted(rows, key=lambda row: str(row["created"]))}
