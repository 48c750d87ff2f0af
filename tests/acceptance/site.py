"""Everything that is up while the stories are told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.prefect_api import PrefectApi
from tests.acceptance.project import Project
from tests.acceptance.receiver import Receiver
from tests.fakes.people import People
from tests.fakes.provider import FakeProvider

TICKETS = "triage-tickets/nightly"
#: Tickets that the deployed runs work on: as many as a form can be filled in with in good time, and one round reads.
N_DEPLOYED = 12
#: About what a run takes to its gate.
_BETWEEN_RUNS_S = 10.0


@dataclass(frozen=True)
class Site:
    """A project with a worker, the provider that it asks, the receiver that it delivers to, the people it tells."""

    project: Project
    provider: FakeProvider
    receiver: Receiver
    people: People
    api: PrefectApi
    #: The flow runs of the tickets' deployment that the stories share, by what becomes of them.
    runs: dict[str, str] = field(default_factory=dict)

    def start_runs(self) -> None:
        """Have the worker begin a run for each story, one by one: a queue of them would lock Prefect's SQLite."""
        files = {name: f"file:out/{name}.jsonl" for name in ("resumed", "running", "scheduled")}
        for n, (name, sink) in enumerate({**files, "reviewed": self.receiver.url}.items()):
            tags = ["started-by:Ada"] if name == "reviewed" else []
            self.runs[name] = self.api.start_run(TICKETS, {"sink": sink}, in_s=n * _BETWEEN_RUNS_S, tags=tags)

    def wait_at_gate(self, name: str) -> str:
        """The flow run of this name once it is suspended."""
        self.api.wait_for_state(self.runs[name], "Suspended")
        return self.runs[name]

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """What the file sink of this name holds."""
        file = self.project.folder / f"out/{name}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
